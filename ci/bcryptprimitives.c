/*
 * bcryptprimitives.dll, which Wine 8 lacks and every Rust program for Windows imports: without it a program ends with
 * status 53 and no message. It exports one function, ProcessPrng, which fills a buffer with random bytes. Wine has
 * the older function for that in advapi32, under the name SystemFunction036; its length has 32 bits.
 */
#include <stddef.h>

typedef unsigned char BOOLEAN_T;

__declspec(dllimport) BOOLEAN_T __stdcall SystemFunction036(void *buffer, unsigned long length);

__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *data, size_t length)
{
    const size_t at_once = 1u << 30;
    for (size_t done = 0; done < length;) {
        size_t part = length - done < at_once ? length - done : at_once;
        if (!SystemFunction036(data + done, (unsigned long)part))
            return 0;
        done += part;
    }
    return 1;
}
