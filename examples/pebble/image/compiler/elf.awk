# The program as bytes, and the file that carries them.
#
# code[0..size-1] are the bytes of instructions and strings. An instruction that names a label is entered in the
# list of references and completed when all labels have their place. The file is an ELF executable with one
# segment: headers, code and strings, readable and executable, never written; a program's only memory is its stack.

function start_program() {
    BUILT_IN["put"]; BUILT_IN["byte"]; BUILT_IN["exit"]
    BASE = 4194304      # 0x400000, where linkers put executables that are not relocated
    HEADERS = 64 + 56   # the ELF header and one program header
    size = 0
    emit_start("function main")
}

function put_byte(value) {
    code[size++] = value
}

# The lowest `count` bytes of a number, the lowest first; a negative number as its two's complement.
function put_number(value, count,    i) {
    for (i = 0; i < count; i++) {
        put_byte(low_byte(value))
        value = floor_div(value, 256)
    }
}

function put_hex(text,    i, bytes, part) {
    bytes = split(text, part, " ")
    for (i = 1; i <= bytes; i++)
        put_byte((index("0123456789abcdef", substr(part[i], 1, 1)) - 1) * 16 \
            + index("0123456789abcdef", substr(part[i], 2, 1)) - 1)
}

function low_byte(value) {
    return value - 256 * floor_div(value, 256)
}

function floor_div(value, divisor,    quotient) {
    quotient = int(value / divisor)
    return quotient * divisor > value ? quotient - 1 : quotient
}

function new_label() {
    return "label " ++labels
}

function place_label(name) {
    place[name] = size
}

# The instruction at `position` names a label; `kind` tells the back end how to write the distance into it.
function refer(label, position, kind) {
    references++
    reference_label[references] = label
    reference_at[references] = position
    reference_kind[references] = kind
}

function resolve_references(    i) {
    for (i = 1; i <= references; i++)
        write_distance(reference_kind[i], reference_at[i], place[reference_label[i]] - reference_at[i])
}

function string_label(text) {
    if (!(text in string_place)) {
        string_place[text] = "string " ++strings
        string_text[strings] = text
    }
    return string_place[text]
}

function place_strings(    i, j, code_of) {
    for (i = 1; i < 256; i++) code_of[sprintf("%c", i)] = i
    for (i = 1; i <= strings; i++) {
        place_label("string " i)
        for (j = 1; j <= length(string_text[i]); j++) put_byte(code_of[substr(string_text[i], j, 1)])
        put_byte(0)
    }
}

function write_executable(    i, program, length_of_code, line) {
    for (i = 0; i < size; i++) program[i] = code[i]
    length_of_code = size
    size = 0
    put_hex("7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00")  # ELF, 64 bits, little endian, version 1
    put_number(2, 2)                         # an executable
    put_number(ELF_MACHINE, 2)
    put_number(1, 4)
    put_number(BASE + HEADERS, 8)            # it starts with its first instruction
    put_number(64, 8)                        # the program header follows this one
    put_number(0, 8)                         # no sections
    put_number(0, 4)
    put_number(64, 2); put_number(56, 2); put_number(1, 2)
    put_number(64, 2); put_number(0, 2); put_number(0, 2)
    put_number(1, 4)                         # a segment to load,
    put_number(5, 4)                         # readable and executable,
    put_number(0, 8)                         # that begins with the file
    put_number(BASE, 8); put_number(BASE, 8)
    put_number(HEADERS + length_of_code, 8); put_number(HEADERS + length_of_code, 8)
    put_number(65536, 8)                     # the largest page that the two machines know
    for (i = 0; i < length_of_code; i++) put_byte(program[i])

    for (i = 0; i < size; i++) {
        line = line sprintf("\\%03o", code[i])
        if (i % 32 == 31) { print line; line = "" }
    }
    if (line != "") print line
}
