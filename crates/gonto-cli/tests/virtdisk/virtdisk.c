/*
 * A virtdisk.dll for the tests. It lies beside a copy of gonto.exe, which loads it in place of the one of the system, and
 * plays the part of Windows for that program alone: it writes down every call, refuses those that the documentation
 * forbids, and lets volumes of "attached" images appear. It proves what gonto asks of Windows; it says nothing about
 * what Windows answers.
 *
 *   VIRTDISK_FOLDER      what outlives a process: the calls, disks and letters; see below
 *   VIRTDISK_VOLUME_AT   where the volume begins on every attached disk, in bytes
 *   VIRTDISK_POLLS       so many searches of a process find no volume of an attached disk
 *   VIRTDISK_FAIL        errors to be returned, as FUNCTION:CALL=ERROR;… with the first call of a process being 1,
 *                        and * for all of them
 *   VIRTDISK_OFFLINE     if set, disks are offline and have no volumes
 *   VIRTDISK_SILENT      if set, no volume tells that it has a letter
 *   VIRTDISK_CLOCK       so many times faster the program's clock runs: nobody wants to see it wait
 *
 *   <folder>/calls       a line for each call: process, function, arguments, and the error if there was one
 *   <folder>/disk-N      a disk that was attached: its image file, and whether it stays; empty when it was detached
 *   <folder>/letter-X    the volume that a letter leads to
 *
 * A disk that does not stay is attached as long as its handle is open: the handle is one of the image file, and holds a lock
 * on a byte far behind its end.
 */
#define _WIN32_WINNT 0x0A00
#include <windows.h>
#include <virtdisk.h>
#include <winioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

/* virtdisk.h wants to import what is exported here. */
#pragma GCC diagnostic ignored "-Wattributes"

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* Of virterror.h, ntifs.h and winioctl.h, which mingw lacks or hides. */
#define ERROR_NO_PROVIDER 0xC03A0014u
#define IOCTL_EXTENTS 0x560000u
#define IOCTL_ATTRIBUTES 0x700f0u
#define ATTRIBUTE_OFFLINE 1ull

static const GUID microsoft = { 0xec984aec, 0xa0f9, 0x47e9, { 0x90, 0x1f, 0x71, 0x41, 0x5a, 0x66, 0x34, 0x5b } };

/* ---- What the test has asked for ---- */

static unsigned long long number_of(const wchar_t *variable)
{
    wchar_t text[32];
    DWORD length = GetEnvironmentVariableW(variable, text, LENGTH(text));
    return length > 0 && length < LENGTH(text) ? wcstoull(text, NULL, 10) : 0;
}

static void path_of(wchar_t path[MAX_PATH], const wchar_t *format, ...)
{
    DWORD length = GetEnvironmentVariableW(L"VIRTDISK_FOLDER", path, MAX_PATH);
    if (length == 0 || length >= MAX_PATH - 32)
        ExitProcess(99);
    path[length++] = L'\\';
    va_list arguments;
    va_start(arguments, format);
    _vsnwprintf(path + length, MAX_PATH - length, format, arguments);
    va_end(arguments);
}

/* Every function that the program may call here. */
enum function {
    OPEN, ATTACH, PHYSICAL_PATH, DETACH, FIND_FIRST, IO_CONTROL, SET_POINT, DELETE_POINT, PATH_NAMES, NAME_AT_POINT, FUNCTIONS
};

static const wchar_t *const names[FUNCTIONS] = {
    L"OpenVirtualDisk", L"AttachVirtualDisk", L"GetVirtualDiskPhysicalPath", L"DetachVirtualDisk", L"FindFirstVolumeW",
    L"DeviceIoControl", L"SetVolumeMountPointW", L"DeleteVolumeMountPointW", L"GetVolumePathNamesForVolumeNameW",
    L"GetVolumeNameForVolumeMountPointW",
};

/* The error that this call has to return, or 0. */
static DWORD failure(enum function function)
{
    static LONG calls[FUNCTIONS];
    LONG call = InterlockedIncrement(&calls[function]);
    wchar_t wanted[512];
    DWORD length = GetEnvironmentVariableW(L"VIRTDISK_FAIL", wanted, LENGTH(wanted));
    if (length == 0 || length >= LENGTH(wanted))
        return 0;
    size_t name = wcslen(names[function]);
    for (wchar_t *rule = wanted; rule; rule = wcschr(rule, L';')) {
        rule += *rule == L';';
        if (wcsncmp(rule, names[function], name) != 0 || rule[name] != L':')
            continue;
        wchar_t *which = rule + name + 1, *error = wcschr(which, L'=');
        if (error && (*which == L'*' || wcstol(which, NULL, 10) == call))
            return wcstoul(error + 1, NULL, 0);
    }
    return 0;
}

/* Writes down a call. Lines of several processes do not mix: each is appended at once. */
static void tell(DWORD error, const wchar_t *format, ...)
{
    wchar_t line[2048], path[MAX_PATH];
    int length = _snwprintf(line, LENGTH(line), L"%lu ", GetCurrentProcessId());
    va_list arguments;
    va_start(arguments, format);
    length += _vsnwprintf(line + length, LENGTH(line) - length - 32, format, arguments);
    va_end(arguments);
    if (error)
        length += _snwprintf(line + length, 24, L" = %lu", error);
    line[length++] = L'\n';
    char bytes[4096];
    DWORD count = WideCharToMultiByte(CP_UTF8, 0, line, length, bytes, sizeof bytes, NULL, NULL), written;
    path_of(path, L"calls");
    HANDLE file = CreateFileW(path, FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_ALWAYS, 0, NULL);
    WriteFile(file, bytes, count, &written, NULL);
    CloseHandle(file);
}

/* ---- Disks ---- */

struct record {
    DWORD permanent;
    wchar_t image[600];
};

static const wchar_t *without_prefix(const wchar_t *path)
{
    return wcsncmp(path, L"\\\\?\\", 4) == 0 ? path + 4 : path;
}

static BOOL is_same_file(const wchar_t *a, const wchar_t *b)
{
    return _wcsicmp(without_prefix(a), without_prefix(b)) == 0;
}

static BOOL read_record(DWORD disk, struct record *record)
{
    wchar_t path[MAX_PATH];
    DWORD read = 0, sharing = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    path_of(path, L"disk-%lu", disk);
    HANDLE file = CreateFileW(path, GENERIC_READ, sharing, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return FALSE;
    memset(record, 0, sizeof *record);
    ReadFile(file, record, sizeof *record, &read, NULL);
    CloseHandle(file);
    return TRUE;
}

static void remove_dead_letters(void);

/* Takes a number that no disk has had. */
static DWORD write_record(const struct record *record)
{
    wchar_t path[MAX_PATH];
    DWORD written;
    for (DWORD disk = 1; disk < 1000; disk++) {
        path_of(path, L"disk-%lu", disk);
        HANDLE file = CreateFileW(path, GENERIC_WRITE, FILE_SHARE_READ, NULL, CREATE_NEW, 0, NULL);
        if (file == INVALID_HANDLE_VALUE)
            continue;
        WriteFile(file, record, sizeof *record, &written, NULL);
        CloseHandle(file);
        return disk;
    }
    return 0;
}

static void clear_record(DWORD disk)
{
    wchar_t path[MAX_PATH];
    path_of(path, L"disk-%lu", disk);
    CloseHandle(CreateFileW(path, GENERIC_WRITE, FILE_SHARE_READ, NULL, CREATE_ALWAYS, 0, NULL));
    remove_dead_letters();
}

/* The byte by which a handle attaches its image. */
static OVERLAPPED far_byte(void)
{
    OVERLAPPED at = { .OffsetHigh = 0x10000000 };
    return at;
}

static BOOL is_attached(const struct record *record)
{
    if (!*record->image || record->permanent)
        return record->permanent;
    DWORD sharing = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    HANDLE file = CreateFileW(record->image, GENERIC_READ, sharing, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return FALSE;
    OVERLAPPED at = far_byte();
    BOOL is_free = LockFileEx(file, LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at);
    CloseHandle(file);
    return !is_free;
}

/* The disk of an image that is attached, or 0. */
static DWORD disk_of(const wchar_t *image, struct record *record)
{
    for (DWORD disk = 1; read_record(disk, record); disk++)
        if (is_same_file(record->image, image) && is_attached(record))
            return disk;
    return 0;
}

/* ---- Handles that the program has got from here ---- */

enum kind { NOTHING, IMAGE, DISK, VOLUME };

struct opened {
    enum kind kind;
    HANDLE handle;
    /* Of an image: */
    wchar_t path[600];
    DWORD version, access;
    BOOL can_write;
    /* Of a disk or volume: */
    DWORD disk;
    unsigned long long at;
};

static struct opened table[64];
static CRITICAL_SECTION guard;
static LONG searches_open;

static struct opened *find(HANDLE handle, enum kind kind)
{
    struct opened *found = NULL;
    EnterCriticalSection(&guard);
    for (size_t i = 0; i < LENGTH(table); i++)
        if (table[i].kind != NOTHING && table[i].handle == handle && (kind == NOTHING || table[i].kind == kind))
            found = &table[i];
    LeaveCriticalSection(&guard);
    return found;
}

static struct opened *remember(enum kind kind, HANDLE handle)
{
    EnterCriticalSection(&guard);
    size_t i = 0;
    while (table[i].kind != NOTHING)
        if (++i == LENGTH(table))
            ExitProcess(98);
    memset(&table[i], 0, sizeof table[i]);
    table[i].handle = handle;
    table[i].kind = kind;
    LeaveCriticalSection(&guard);
    return &table[i];
}

/* ---- virtdisk.dll ---- */

static void describe_access(wchar_t *text, size_t room, DWORD access)
{
    static const struct { DWORD bit; const wchar_t *name; } bits[] = {
        { VIRTUAL_DISK_ACCESS_ATTACH_RO, L"ATTACH_RO" }, { VIRTUAL_DISK_ACCESS_ATTACH_RW, L"ATTACH_RW" },
        { VIRTUAL_DISK_ACCESS_DETACH, L"DETACH" }, { VIRTUAL_DISK_ACCESS_GET_INFO, L"GET_INFO" },
    };
    wcsncpy(text, access ? L"" : L"NONE", room);
    for (size_t i = 0; i < LENGTH(bits); i++)
        if (access & bits[i].bit) {
            if (*text)
                wcsncat(text, L"|", room - wcslen(text) - 1);
            wcsncat(text, bits[i].name, room - wcslen(text) - 1);
            access &= ~bits[i].bit;
        }
    if (access)
        _snwprintf(text + wcslen(text), room - wcslen(text), L"|%#lx", access);
}

/* Whether the content is what the caller says. */
static BOOL has_content(HANDLE file, DWORD device)
{
    char begin[8] = "", end[8] = "";
    LARGE_INTEGER size;
    DWORD read;
    GetFileSizeEx(file, &size);
    ReadFile(file, begin, sizeof begin, &read, NULL);
    LARGE_INTEGER footer = { .QuadPart = size.QuadPart - 512 };
    SetFilePointerEx(file, footer, NULL, FILE_BEGIN);
    ReadFile(file, end, sizeof end, &read, NULL);
    return device == VIRTUAL_STORAGE_TYPE_DEVICE_VHDX ? memcmp(begin, "vhdxfile", 8) == 0 : memcmp(end, "conectix", 8) == 0;
}

static DWORD open_image(const VIRTUAL_STORAGE_TYPE *type, const wchar_t *path, DWORD access, DWORD flags, DWORD version,
                        BOOL can_write, HANDLE *handle)
{
    if (flags & ~(OPEN_VIRTUAL_DISK_FLAG_NO_PARENTS | OPEN_VIRTUAL_DISK_FLAG_BLANK_FILE))
        return ERROR_INVALID_PARAMETER;
    /* Version 1 wants to know what for, version 2 does not ask. */
    if (version == 1 ? access == 0 || (access & ~VIRTUAL_DISK_ACCESS_ALL) : version != 2 || access != 0)
        return ERROR_INVALID_PARAMETER;
    if (!IsEqualGUID(&type->VendorId, &microsoft) ||
        (type->DeviceId != VIRTUAL_STORAGE_TYPE_DEVICE_VHD && type->DeviceId != VIRTUAL_STORAGE_TYPE_DEVICE_VHDX))
        return ERROR_NO_PROVIDER;
    struct record record;
    BOOL attaches = version == 2 || (access & (VIRTUAL_DISK_ACCESS_ATTACH_RO | VIRTUAL_DISK_ACCESS_ATTACH_RW));
    if (disk_of(path, &record) && (attaches || !(access & VIRTUAL_DISK_ACCESS_DETACH)))
        return ERROR_SHARING_VIOLATION;
    /* As Windows does, it keeps others from removing the file. */
    DWORD rights = GENERIC_READ | (attaches && can_write ? GENERIC_WRITE : 0);
    *handle = CreateFileW(path, rights, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    if (*handle == INVALID_HANDLE_VALUE)
        return GetLastError();
    if (!has_content(*handle, type->DeviceId)) {
        CloseHandle(*handle);
        return ERROR_FILE_CORRUPT;
    }
    struct opened *opened = remember(IMAGE, *handle);
    wcsncpy(opened->path, path, LENGTH(opened->path) - 1);
    opened->version = version;
    opened->access = access;
    opened->can_write = can_write;
    return ERROR_SUCCESS;
}

DWORD WINAPI OpenVirtualDisk(PVIRTUAL_STORAGE_TYPE type, PCWSTR path, VIRTUAL_DISK_ACCESS_MASK access,
                             OPEN_VIRTUAL_DISK_FLAG flags, POPEN_VIRTUAL_DISK_PARAMETERS parameters, PHANDLE handle)
{
    if (!type || !path || !handle) {
        tell(ERROR_INVALID_PARAMETER, L"OpenVirtualDisk(NULL)");
        return ERROR_INVALID_PARAMETER;
    }
    wchar_t wanted[64], how[96] = L"default";
    describe_access(wanted, LENGTH(wanted), access);
    DWORD version = 1;
    BOOL can_write = TRUE;
    if (parameters) {
        version = parameters->Version;
        if (version == 1) {
            can_write = parameters->Version1.RWDepth > 0;
            _snwprintf(how, LENGTH(how), L"version 1 RWDepth %lu", parameters->Version1.RWDepth);
        } else {
            can_write = !parameters->Version2.ReadOnly;
            _snwprintf(how, LENGTH(how), L"version %lu GetInfoOnly %d ReadOnly %d", version,
                       parameters->Version2.GetInfoOnly, parameters->Version2.ReadOnly);
        }
    }
    const wchar_t *kind = type->DeviceId == VIRTUAL_STORAGE_TYPE_DEVICE_VHD    ? L"VHD"
                          : type->DeviceId == VIRTUAL_STORAGE_TYPE_DEVICE_VHDX ? L"VHDX"
                                                                               : L"?";
    DWORD error = failure(OPEN);
    if (!error)
        error = open_image(type, path, access, flags, version, can_write, handle);
    tell(error, L"OpenVirtualDisk(%ls, %ls, %ls, flags %#x, %ls)", kind, path, wanted, flags, how);
    return error;
}

static DWORD attach_image(struct opened *opened, DWORD flags)
{
    BOOL read_only = flags & ATTACH_VIRTUAL_DISK_FLAG_READ_ONLY;
    DWORD right = read_only ? VIRTUAL_DISK_ACCESS_ATTACH_RO | VIRTUAL_DISK_ACCESS_ATTACH_RW : VIRTUAL_DISK_ACCESS_ATTACH_RW;
    if (opened->version == 1 ? !(opened->access & right) : !read_only && !opened->can_write)
        return ERROR_ACCESS_DENIED;
    struct record record;
    if (disk_of(opened->path, &record))
        return ERROR_SHARING_VIOLATION;
    memset(&record, 0, sizeof record);
    record.permanent = !!(flags & ATTACH_VIRTUAL_DISK_FLAG_PERMANENT_LIFETIME);
    OVERLAPPED at = far_byte();
    DWORD how = LOCKFILE_FAIL_IMMEDIATELY | LOCKFILE_EXCLUSIVE_LOCK;
    if (!record.permanent && !LockFileEx(opened->handle, how, 0, 1, 0, &at))
        return ERROR_SHARING_VIOLATION;
    wcscpy(record.image, opened->path);
    write_record(&record);
    return ERROR_SUCCESS;
}

DWORD WINAPI AttachVirtualDisk(HANDLE handle, PSECURITY_DESCRIPTOR security, ATTACH_VIRTUAL_DISK_FLAG flags,
                               ULONG provider_flags, PATTACH_VIRTUAL_DISK_PARAMETERS parameters, LPOVERLAPPED overlapped)
{
    struct opened *opened = find(handle, IMAGE);
    DWORD error = failure(ATTACH);
    if (!error && (!opened || flags > 0x20 || !parameters || parameters->Version != ATTACH_VIRTUAL_DISK_VERSION_1))
        error = ERROR_INVALID_PARAMETER;
    if (!error)
        error = attach_image(opened, flags);
    tell(error, L"AttachVirtualDisk(%ls,%ls%ls%ls flags %#x, provider %lu, %ls, %ls)", opened ? opened->path : L"?",
         flags & ATTACH_VIRTUAL_DISK_FLAG_READ_ONLY ? L" READ_ONLY" : L"",
         flags & ATTACH_VIRTUAL_DISK_FLAG_NO_DRIVE_LETTER ? L" NO_DRIVE_LETTER" : L"",
         flags & ATTACH_VIRTUAL_DISK_FLAG_PERMANENT_LIFETIME ? L" PERMANENT_LIFETIME" : L"", flags & ~7u, provider_flags,
         security ? L"security" : L"no security", overlapped ? L"overlapped" : L"at once");
    return error;
}

DWORD WINAPI GetVirtualDiskPhysicalPath(HANDLE handle, PULONG bytes, PWSTR path)
{
    struct opened *opened = find(handle, IMAGE);
    struct record record;
    DWORD room = bytes ? *bytes : 0, disk = opened ? disk_of(opened->path, &record) : 0;
    wchar_t text[32];
    _snwprintf(text, LENGTH(text), L"\\\\.\\PhysicalDrive%lu", disk);
    DWORD needed = (wcslen(text) + 1) * sizeof *text, error = failure(PHYSICAL_PATH);
    if (error)
        ;
    else if (!opened || !bytes)
        error = ERROR_INVALID_PARAMETER;
    else if (opened->version == 1 && !(opened->access & VIRTUAL_DISK_ACCESS_GET_INFO))
        error = ERROR_ACCESS_DENIED;
    else if (!disk)
        error = ERROR_DEV_NOT_EXIST;
    else if (*bytes = needed, !path || room < needed)
        error = ERROR_INSUFFICIENT_BUFFER;
    else
        memcpy(path, text, needed);
    tell(error, L"GetVirtualDiskPhysicalPath(%ls)", opened ? opened->path : L"?");
    return error;
}

DWORD WINAPI DetachVirtualDisk(HANDLE handle, DETACH_VIRTUAL_DISK_FLAG flags, ULONG provider_flags)
{
    struct opened *opened = find(handle, IMAGE);
    struct record record;
    DWORD disk = opened ? disk_of(opened->path, &record) : 0, error = failure(DETACH);
    OVERLAPPED at = far_byte();
    if (error)
        ;
    else if (!opened || flags != DETACH_VIRTUAL_DISK_FLAG_NONE)
        error = ERROR_INVALID_PARAMETER;
    else if (opened->version == 1 && !(opened->access & VIRTUAL_DISK_ACCESS_DETACH))
        error = ERROR_ACCESS_DENIED;
    else if (!disk)
        error = ERROR_NOT_READY;
    else if (!record.permanent && !UnlockFileEx(handle, 0, 1, 0, &at))
        /* "All other open handles to the virtual disk must be closed." */
        error = ERROR_SHARING_VIOLATION;
    else
        clear_record(disk);
    tell(error, L"DetachVirtualDisk(%ls, flags %#x, provider %lu)", opened ? opened->path : L"?", flags, provider_flags);
    return error;
}

/* ---- Volumes ---- */

/* Volumes in whose place there is none that could be gonto's. */
#define NO_MEDIUM 0xffffff01u
#define TWO_EXTENTS 0xffffff02u
#define VANISHED 0xffffff03u

struct volume {
    DWORD disk;
    unsigned long long at;
};

static void name_volume(wchar_t name[50], struct volume volume)
{
    _snwprintf(name, 50, L"\\\\?\\Volume{%08lx-0000-4000-8000-%012I64x}\\", volume.disk, volume.at);
}

/* False when the name is not one of these. `end` is what has to stand behind the bracket. */
static BOOL parse_volume(const wchar_t *name, const wchar_t *end, struct volume *volume)
{
    wchar_t again[50];
    if (wcslen(name) < 48)
        return FALSE;
    volume->disk = wcstoul(name + 11, NULL, 16);
    volume->at = wcstoull(name + 35, NULL, 16);
    name_volume(again, *volume);
    return wcsncmp(name, again, 48) == 0 && wcscmp(name + 48, end) == 0;
}

static unsigned long long volume_at(void)
{
    return number_of(L"VIRTDISK_VOLUME_AT");
}

static BOOL is_there(struct volume volume)
{
    struct record record;
    return read_record(volume.disk, &record) && is_attached(&record) && !number_of(L"VIRTDISK_OFFLINE") &&
           volume.at == volume_at();
}

struct search {
    struct volume volumes[64];
    size_t count, next;
};

static BOOL next_volume(struct search *search, wchar_t *name, DWORD room)
{
    if (search->next == search->count) {
        SetLastError(ERROR_NO_MORE_FILES);
        return FALSE;
    }
    if (room < 50) {
        SetLastError(ERROR_FILENAME_EXCED_RANGE);
        return FALSE;
    }
    name_volume(name, search->volumes[search->next++]);
    return TRUE;
}

static HANDLE WINAPI find_first_volume(wchar_t *name, DWORD room)
{
    static LONG searches;
    BOOL has_appeared = (unsigned long long)InterlockedIncrement(&searches) > number_of(L"VIRTDISK_POLLS");
    DWORD error = failure(FIND_FIRST);
    if (error) {
        tell(error, L"FindFirstVolumeW");
        SetLastError(error);
        return INVALID_HANDLE_VALUE;
    }
    struct search *search = calloc(1, sizeof *search);
    /* Others come first; one begins where gonto's does, on another disk. */
    const struct volume others[] = { { 0, volume_at() }, { NO_MEDIUM, 0 }, { TWO_EXTENTS, 0 }, { VANISHED, 0 } };
    for (size_t i = 0; i < LENGTH(others); i++)
        search->volumes[search->count++] = others[i];
    struct record record;
    for (DWORD disk = 1; has_appeared && search->count < LENGTH(search->volumes) - 1 && read_record(disk, &record); disk++)
        if (is_there((struct volume){ disk, volume_at() })) {
            search->volumes[search->count++] = (struct volume){ disk, 17408 };
            search->volumes[search->count++] = (struct volume){ disk, volume_at() };
        }
    next_volume(search, name, room);
    InterlockedIncrement(&searches_open);
    return search;
}

static BOOL WINAPI find_next_volume(HANDLE search, wchar_t *name, DWORD room)
{
    return next_volume(search, name, room);
}

static BOOL WINAPI find_volume_close(HANDLE search)
{
    InterlockedDecrement(&searches_open);
    free(search);
    return TRUE;
}

/* Disks and volumes are opened by name; everything else is the system's. */
static HANDLE WINAPI create_file(const wchar_t *name, DWORD access, DWORD sharing, SECURITY_ATTRIBUTES *security,
                                 DWORD creation, DWORD flags, HANDLE template)
{
    struct volume volume;
    enum kind kind = NOTHING;
    if (swscanf(name, L"\\\\.\\PhysicalDrive%lu", &volume.disk) == 1)
        kind = DISK;
    else if (parse_volume(name, L"", &volume))
        kind = VOLUME;
    if (kind == NOTHING)
        return CreateFileW(name, access, sharing, security, creation, flags, template);
    if (access != 0 || sharing != (FILE_SHARE_READ | FILE_SHARE_WRITE) || creation != OPEN_EXISTING ||
        volume.disk == VANISHED) {
        SetLastError(volume.disk == VANISHED ? ERROR_FILE_NOT_FOUND : ERROR_ACCESS_DENIED);
        return INVALID_HANDLE_VALUE;
    }
    HANDLE handle = CreateEventW(NULL, FALSE, FALSE, NULL);
    struct opened *opened = remember(kind, handle);
    opened->disk = volume.disk;
    opened->at = volume.at;
    return handle;
}

static DWORD answer(const struct opened *opened, DWORD question, void *buffer, DWORD room, DWORD *given)
{
    STORAGE_DEVICE_NUMBER number = { FILE_DEVICE_DISK, opened->disk, 0 };
    VOLUME_DISK_EXTENTS extents = { .NumberOfDiskExtents = 1 };
    extents.Extents[0].DiskNumber = opened->disk;
    extents.Extents[0].StartingOffset.QuadPart = opened->at;
    struct { DWORD version, reserved; unsigned long long attributes; } attributes = { 16, 0, 0 };
    attributes.attributes = number_of(L"VIRTDISK_OFFLINE") ? ATTRIBUTE_OFFLINE : 0;
    const void *found;
    *given = 0;
    if (question == IOCTL_STORAGE_GET_DEVICE_NUMBER && opened->kind == DISK)
        found = &number, *given = sizeof number;
    else if (question == IOCTL_ATTRIBUTES && opened->kind == DISK)
        found = &attributes, *given = sizeof attributes;
    else if (question == IOCTL_EXTENTS && opened->kind == VOLUME)
        found = &extents, *given = sizeof extents;
    else
        return ERROR_INVALID_FUNCTION;
    if (opened->disk == NO_MEDIUM)
        return *given = 0, ERROR_NOT_READY;
    if (room < *given)
        return *given = 0, ERROR_INSUFFICIENT_BUFFER;
    if (opened->disk == TWO_EXTENTS) {
        /* The first of them may well be on a disk of gonto's: the answer is not whole. */
        extents.NumberOfDiskExtents = 2;
        extents.Extents[0].DiskNumber = 1;
        extents.Extents[0].StartingOffset.QuadPart = volume_at();
        memcpy(buffer, &extents, sizeof extents);
        return ERROR_MORE_DATA;
    }
    memcpy(buffer, found, *given);
    return ERROR_SUCCESS;
}

static BOOL WINAPI device_io_control(HANDLE device, DWORD question, void *input, DWORD input_size, void *buffer, DWORD room,
                                     DWORD *given, OVERLAPPED *overlapped)
{
    struct opened *opened = find(device, NOTHING);
    if (!opened || opened->kind == IMAGE)
        return DeviceIoControl(device, question, input, input_size, buffer, room, given, overlapped);
    DWORD error = failure(IO_CONTROL);
    if (!error)
        error = input || input_size || overlapped ? ERROR_INVALID_PARAMETER : answer(opened, question, buffer, room, given);
    SetLastError(error);
    return error == ERROR_SUCCESS;
}

static BOOL WINAPI close_handle(HANDLE handle)
{
    struct opened *opened = find(handle, NOTHING);
    BOOL may_detach = opened && opened->kind == IMAGE;
    if (may_detach)
        tell(0, L"CloseHandle(%ls)", opened->path);
    if (opened)
        opened->kind = NOTHING;
    BOOL closed = CloseHandle(handle);
    if (may_detach)
        remove_dead_letters();
    return closed;
}

/* ---- Letters ---- */

/* Whether the path is the root of a drive, as these functions want it. */
static BOOL is_root(const wchar_t *path)
{
    return path[0] >= L'A' && path[0] <= L'Z' && wcscmp(path + 1, L":\\") == 0;
}

/* The volume at a letter. It goes with the volume. */
static BOOL read_letter(wchar_t letter, wchar_t name[50])
{
    wchar_t path[MAX_PATH];
    struct volume volume;
    DWORD read = 0;
    path_of(path, L"letter-%c", letter);
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return FALSE;
    ReadFile(file, name, 50 * sizeof *name, &read, NULL);
    CloseHandle(file);
    if (read != 50 * sizeof *name || !parse_volume(name, L"\\", &volume))
        return FALSE;
    if (!is_there(volume)) {
        DeleteFileW(path);
        return FALSE;
    }
    return TRUE;
}

static void remove_dead_letters(void)
{
    wchar_t found[50];
    for (wchar_t letter = L'A'; letter <= L'Z'; letter++)
        read_letter(letter, found);
}

static BOOL WINAPI set_mount_point(const wchar_t *root, const wchar_t *name)
{
    struct volume volume;
    wchar_t found[50], path[MAX_PATH];
    DWORD error = failure(SET_POINT), written;
    if (error)
        ;
    else if (!is_root(root) || !parse_volume(name, L"\\", &volume))
        error = ERROR_INVALID_NAME;
    else if (!is_there(volume))
        error = ERROR_FILE_NOT_FOUND;
    else if (read_letter(root[0], found) || (GetLogicalDrives() >> (root[0] - L'A') & 1))
        error = ERROR_DIR_NOT_EMPTY;
    else {
        path_of(path, L"letter-%c", root[0]);
        HANDLE file = CreateFileW(path, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
        name_volume(found, volume);
        WriteFile(file, found, sizeof found, &written, NULL);
        CloseHandle(file);
    }
    tell(error, L"SetVolumeMountPointW(%ls, disk %lu)", root, parse_volume(name, L"\\", &volume) ? volume.disk : 0);
    SetLastError(error);
    return error == ERROR_SUCCESS;
}

static BOOL WINAPI delete_mount_point(const wchar_t *root)
{
    wchar_t found[50], path[MAX_PATH];
    DWORD error = failure(DELETE_POINT);
    if (!error && !is_root(root))
        error = ERROR_INVALID_NAME;
    if (!error && !read_letter(root[0], found))
        error = ERROR_FILE_NOT_FOUND;
    if (!error) {
        path_of(path, L"letter-%c", root[0]);
        DeleteFileW(path);
    }
    tell(error, L"DeleteVolumeMountPointW(%ls)", root);
    SetLastError(error);
    return error == ERROR_SUCCESS;
}

static BOOL WINAPI name_at_mount_point(const wchar_t *root, wchar_t *name, DWORD room)
{
    wchar_t found[50];
    DWORD error = failure(NAME_AT_POINT);
    if (!error && is_root(root) && !read_letter(root[0], found))
        error = ERROR_FILE_NOT_FOUND;
    if (!error && room < 50)
        error = ERROR_FILENAME_EXCED_RANGE;
    if (!error)
        memcpy(name, found, sizeof found);
    SetLastError(error);
    return error == ERROR_SUCCESS;
}

static BOOL WINAPI path_names(const wchar_t *name, wchar_t *paths, DWORD room, DWORD *needed)
{
    struct volume volume, other;
    wchar_t found[50], all[128];
    DWORD error = failure(PATH_NAMES), length = 0;
    if (!error && (!parse_volume(name, L"\\", &volume) || !is_there(volume)))
        error = ERROR_FILE_NOT_FOUND;
    for (wchar_t letter = L'A'; !error && !number_of(L"VIRTDISK_SILENT") && letter <= L'Z'; letter++)
        if (read_letter(letter, found) && parse_volume(found, L"\\", &other) && other.disk == volume.disk) {
            memcpy(all + length, (wchar_t[]){ letter, L':', L'\\', 0 }, 4 * sizeof *all);
            length += 4;
        }
    all[length++] = 0;
    *needed = length;
    if (!error && room < length)
        error = ERROR_MORE_DATA;
    if (!error)
        memcpy(paths, all, length * sizeof *all);
    SetLastError(error);
    return error == ERROR_SUCCESS;
}

static DWORD WINAPI logical_drives(void)
{
    wchar_t found[50];
    DWORD drives = GetLogicalDrives();
    for (wchar_t letter = L'A'; letter <= L'Z'; letter++)
        drives |= (DWORD)read_letter(letter, found) << (letter - L'A');
    return drives;
}

/* ---- What else the program must notice ---- */

/* No process holds the file of a disk that stays; on Windows the system does. */
static BOOL WINAPI delete_file(const wchar_t *path)
{
    if (!wcsstr(path, L".gonto\\layers\\"))
        return DeleteFileW(path);
    struct record record;
    BOOL deleted = !disk_of(path, &record) && DeleteFileW(path);
    DWORD error = deleted ? 0 : *record.image && is_same_file(record.image, path) ? ERROR_SHARING_VIOLATION : GetLastError();
    if (deleted || error == ERROR_SHARING_VIOLATION)
        tell(error, L"DeleteFileW(%ls)", path);
    SetLastError(error);
    return deleted;
}

static LARGE_INTEGER beginning;

static BOOL WINAPI performance_counter(LARGE_INTEGER *now)
{
    BOOL done = QueryPerformanceCounter(now);
    unsigned long long times = number_of(L"VIRTDISK_CLOCK");
    if (times > 1)
        now->QuadPart = beginning.QuadPart + (now->QuadPart - beginning.QuadPart) * times;
    return done;
}

/* ---- The program's imports lead here ---- */

static const struct { const char *name; void *function; } replacements[] = {
    { "FindFirstVolumeW", find_first_volume },
    { "FindNextVolumeW", find_next_volume },
    { "FindVolumeClose", find_volume_close },
    { "CreateFileW", create_file },
    { "DeviceIoControl", device_io_control },
    { "CloseHandle", close_handle },
    { "SetVolumeMountPointW", set_mount_point },
    { "DeleteVolumeMountPointW", delete_mount_point },
    { "GetVolumeNameForVolumeMountPointW", name_at_mount_point },
    { "GetVolumePathNamesForVolumeNameW", path_names },
    { "GetLogicalDrives", logical_drives },
    { "DeleteFileW", delete_file },
    { "QueryPerformanceCounter", performance_counter },
};

static void replace_imports(char *program)
{
    IMAGE_NT_HEADERS *headers = (void *)(program + ((IMAGE_DOS_HEADER *)program)->e_lfanew);
    DWORD at = headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT].VirtualAddress;
    for (IMAGE_IMPORT_DESCRIPTOR *import = (void *)(program + at); import->Name; import++) {
        IMAGE_THUNK_DATA *name = (void *)(program + import->OriginalFirstThunk);
        IMAGE_THUNK_DATA *slot = (void *)(program + import->FirstThunk);
        for (; name->u1.AddressOfData; name++, slot++) {
            if (IMAGE_SNAP_BY_ORDINAL(name->u1.Ordinal))
                continue;
            const char *wanted = (char *)((IMAGE_IMPORT_BY_NAME *)(program + name->u1.AddressOfData))->Name;
            for (size_t i = 0; i < LENGTH(replacements); i++)
                if (strcmp(wanted, replacements[i].name) == 0) {
                    DWORD before;
                    VirtualProtect(slot, sizeof *slot, PAGE_READWRITE, &before);
                    slot->u1.Function = (ULONG_PTR)replacements[i].function;
                    VirtualProtect(slot, sizeof *slot, before, &before);
                }
        }
    }
}

BOOL WINAPI DllMain(HINSTANCE library, DWORD reason, void *reserved)
{
    (void)library;
    (void)reserved;
    if (reason == DLL_PROCESS_ATTACH) {
        InitializeCriticalSection(&guard);
        QueryPerformanceCounter(&beginning);
        remove_dead_letters();
        replace_imports((char *)GetModuleHandleW(NULL));
    } else if (reason == DLL_PROCESS_DETACH) {
        LONG left = searches_open;
        for (size_t i = 0; i < LENGTH(table); i++)
            left += table[i].kind == DISK || table[i].kind == VOLUME;
        if (left)
            tell(0, L"%ld handles are left open", left);
    }
    return TRUE;
}
