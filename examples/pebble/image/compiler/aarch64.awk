# Code for 64-bit ARM. The accumulator is x0; the stack holds 16 bytes a value, since sp must stay aligned to that.
#
# A frame, from high to low addresses: the caller's values, the caller's x29 and the return address (where x29
# points), the function's own variables.

BEGIN { ELF_MACHINE = 183 }

function emit_start(main) {
    emit_call(main, 0)
    emit_built_in("exit")
}

# Instructions are words of 32 bits; they are written here as in the manual, highest byte first.
function put_word(hex,    part) {
    split(hex, part, " ")
    put_hex(part[4] " " part[3] " " part[2] " " part[1])
}

# An instruction with an unsigned field; `unit` is the value of its lowest bit.
function put_field(instruction, field, unit) {
    put_number(instruction + field * unit, 4)
}

function emit_enter() {
    put_word("a9 bf 7b fd")                # stp x29, x30, [sp, #-16]!
    put_word("91 00 03 fd")                # mov x29, sp
    put_word("d1 00 03 ff")                # sub sp, sp, #...
    return size - 4
}

function set_frame_size(position, count,    end) {
    check_reach(count)
    end = size
    size = position
    put_field(3506439167, 16 * count, 1024)  # d10003ff
    size = end
}

function emit_leave() {
    put_word("91 00 03 bf")                # mov sp, x29
    put_word("a8 c1 7b fd")                # ldp x29, x30, [sp], #16
    put_word("d6 5f 03 c0")                # ret
}

# Leaves the address of a value in x9: a frame can be larger than a load reaches downwards.
function emit_slot_address(slot) {
    check_reach(slot)
    if (slot <= parameters) put_field(2432697257, 16 + 16 * (parameters - slot), 1024)   # 910003a9: add x9, x29, #...
    else put_field(3506439081, 16 * (slot - parameters), 1024)                           # d10003a9: sub x9, x29, #...
}

# The distance is a field of 12 bits.
function check_reach(count) {
    if (count > 250) complain("a function has at most 250 values")
}

function emit_load(slot) {
    emit_slot_address(slot)
    put_word("f9 40 01 20")                # ldr x0, [x9]
}

function emit_store(slot) {
    emit_slot_address(slot)
    put_word("f9 00 01 20")                # str x0, [x9]
}

function emit_number(value) {
    put_field(3531603968, value % 65536, 32)                          # d2800000: movz x0, #low
    if (value > 65535) put_field(4070572032, int(value / 65536), 32)  # f2a00000: movk x0, #high, lsl 16
}

function emit_push() {
    put_word("f8 1f 0f e0")                # str x0, [sp, #-16]!
}

function emit_operator(operator) {
    put_word("f8 41 07 e1")                # ldr x1, [sp], #16: now x1 OPERATOR x0
    if (operator == "+") put_word("8b 00 00 20")
    else if (operator == "-") put_word("cb 00 00 20")
    else if (operator == "*") put_word("9b 00 7c 20")
    else if (operator == "/") put_word("9a c0 0c 20")
    else if (operator == "%") {
        put_word("9a c0 0c 22")            # sdiv x2, x1, x0
        put_word("9b 00 84 40")            # msub x0, x2, x0, x1
    } else {
        put_word("eb 00 00 3f")            # cmp x1, x0; cset x0, CC, which carries the opposite condition
        put_word("9a 9f " (operator == "==" ? "17" : operator == "!=" ? "07" : operator == "<" ? "a7" : \
            operator == "<=" ? "c7" : operator == ">" ? "d7" : "b7") " e0")
    }
}

function emit_built_in(name) {
    if (name == "byte") put_word("39 40 00 00")                      # ldrb w0, [x0]
    else if (name == "exit") {
        put_word("d2 80 0b a8")            # mov x8, #93
        put_word("d4 00 00 01")            # svc 0
    } else {
        emit_push()                        # write(1, sp, 1)
        put_word("d2 80 00 20")            # mov x0, #1
        put_word("91 00 03 e1")            # mov x1, sp
        put_word("d2 80 00 22")            # mov x2, #1
        put_word("d2 80 08 08")            # mov x8, #64
        put_word("d4 00 00 01")
        put_word("91 00 43 ff")            # add sp, sp, #16
    }
}

function emit_call(label, count) {
    emit_branch(label, "branch and link")
    if (count) { check_reach(count); put_field(2432697343, 16 * count, 1024) }   # 910003ff: add sp, sp, #...
}

function emit_jump(label) {
    emit_branch(label, "branch")
}

# The conditional branch reaches 1 MiB only, the plain one 128 MiB.
function emit_jump_if_zero(label) {
    put_word("b5 00 00 40")                # cbnz x0, over the next instruction
    emit_branch(label, "branch")
}

function emit_address(label) {
    emit_branch(label, "address")
}

function emit_branch(label, kind) {
    refer(label, size, kind)
    put_number(0, 4)
}

# Distances count from the instruction itself: in words for a branch, in bytes for an address.
function write_distance(kind, position, distance,    end, low) {
    end = size
    size = position
    if (kind == "address") {
        if (distance >= 1048576) fail(ENVIRON["PEBBLE_SOURCE"], 0, "is too large: a string is 1 MiB away")
        low = distance % 4                                           # adr x0: two bits here, the others there
        put_number(268435456 + low * 536870912 + int(distance / 4) * 32, 4)
    } else {
        distance = distance / 4
        if (distance < 0) distance += 67108864
        put_number((kind == "branch" ? 335544320 : 2483027968) + distance, 4)   # 14000000, 94000000
    }
    size = end
}
