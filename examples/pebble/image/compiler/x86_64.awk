# Code for x86-64. The accumulator is rax; the stack holds 8 bytes a value.
#
# A frame, from high to low addresses: the caller's values, the return address, the caller's rbp (where rbp points),
# the function's own variables.

BEGIN { ELF_MACHINE = 62 }

function emit_start(main) {
    emit_call(main, 0)
    emit_built_in("exit")
}

function emit_enter() {
    put_hex("55 48 89 e5 48 81 ec")        # push rbp; mov rbp, rsp; sub rsp, ...
    put_number(0, 4)
    return size - 4
}

function set_frame_size(position, count,    end) {
    end = size
    size = position
    put_number(8 * count, 4)
    size = end
}

function emit_leave() {
    put_hex("c9 c3")                       # leave; ret
}

function offset_of(slot) {
    return slot <= parameters ? 16 + 8 * (parameters - slot) : -8 * (slot - parameters)
}

function emit_load(slot) {
    put_hex("48 8b 85"); put_number(offset_of(slot), 4)    # mov rax, [rbp + offset]
}

function emit_store(slot) {
    put_hex("48 89 85"); put_number(offset_of(slot), 4)    # mov [rbp + offset], rax
}

function emit_number(value) {
    put_hex("b8"); put_number(value, 4)    # mov eax, value (which clears the upper half)
}

function emit_push() {
    put_hex("50")                          # push rax
}

function emit_operator(operator) {
    put_hex("48 89 c1 58")                 # mov rcx, rax; pop rax: now rax OPERATOR rcx
    if (operator == "+") put_hex("48 01 c8")
    else if (operator == "-") put_hex("48 29 c8")
    else if (operator == "*") put_hex("48 0f af c1")
    else if (operator == "/") put_hex("48 99 48 f7 f9")              # cqo; idiv rcx
    else if (operator == "%") put_hex("48 99 48 f7 f9 48 89 d0")     # and mov rax, rdx
    else {
        put_hex("48 39 c8 0f")             # cmp rax, rcx; setCC al; movzx eax, al
        put_hex(operator == "==" ? "94" : operator == "!=" ? "95" : operator == "<" ? "9c" : \
            operator == "<=" ? "9e" : operator == ">" ? "9f" : "9d")
        put_hex("c0 0f b6 c0")
    }
}

function emit_built_in(name) {
    if (name == "byte") put_hex("0f b6 00")                          # movzx eax, byte [rax]
    else if (name == "exit") put_hex("89 c7 b8 3c 00 00 00 0f 05")   # exit(eax)
    else {
        put_hex("50 b8 01 00 00 00 89 c7 48 89 e6 89 c2 0f 05")      # push rax; write(1, rsp, 1)
        put_hex("59")                                                # pop rcx
    }
}

function emit_call(label, count) {
    put_hex("e8"); emit_distance(label)
    if (count) { put_hex("48 81 c4"); put_number(8 * count, 4) }     # add rsp, ...
}

function emit_jump(label) {
    put_hex("e9"); emit_distance(label)
}

function emit_jump_if_zero(label) {
    put_hex("48 85 c0 0f 84"); emit_distance(label)                  # test rax, rax; jz
}

function emit_address(label) {
    put_hex("48 8d 05"); emit_distance(label)                        # lea rax, [rip + distance]
}

function emit_distance(label) {
    refer(label, size, "rel32")
    put_number(0, 4)
}

# All distances are 32 bits wide and count from the end of the field.
function write_distance(kind, position, distance,    end) {
    end = size
    size = position
    put_number(distance - 4, 4)
    size = end
}
