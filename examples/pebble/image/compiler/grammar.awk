# From words to instructions: a recursive descent that emits code as it reads.
#
#   program    = { "fun" NAME "(" [ NAME { "," NAME } ] ")" statements "end" }
#   statement  = "let" NAME "=" expression | NAME "=" expression | "return" expression | call
#              | "if" expression statements [ "else" statements ] "end"
#              | "while" expression statements "end"
#   expression = sum [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) sum ]
#   sum        = product { ( "+" | "-" ) product }
#   product    = value { ( "*" | "/" | "%" ) value }
#   value      = NUMBER | STRING | NAME | call | "-" value | "(" expression ")"
#   call       = NAME "(" [ expression { "," expression } ] ")"
#
# Every value is a signed 64-bit integer. A string is the address of its bytes, which a zero byte ends.
# An expression leaves its value in the accumulator, one register; the back end (x86_64.awk, aarch64.awk) knows
# which. The words that begin with emit_ are its functions, all others are here.

function parse_program(    name) {
    at = 1
    while (at <= words) {
        if (word_kind[at] == "end") at++
        else parse_function()
    }
    for (name in call_count)
        if (!(name in parameter_count))
            fail(call_file[name], call_line[name], "there is no function '" name "'")
        else if (call_count[name] != parameter_count[name])
            fail(call_file[name], call_line[name], "'" name "' takes " parameter_count[name] " values, not " call_count[name])
    if (!("main" in parameter_count)) fail(ENVIRON["PEBBLE_SOURCE"], 0, "has no function 'main'")
}

# Values 1..parameters of a function come from its caller, the others live in its own frame.
function parse_function(    name, frame) {
    expect("fun")
    name = expect_name()
    if (name in parameter_count || name in BUILT_IN) complain("there are two functions '" name "'")
    split("", variable)
    variables = 0
    expect("(")
    while (!accept(")")) {
        if (variables) expect(",")
        declare(expect_name())
    }
    parameters = variables
    parameter_count[name] = parameters
    place_label("function " name)
    frame = emit_enter()
    parse_statements()
    expect("end")
    emit_number(0)
    emit_leave()
    set_frame_size(frame, variables - parameters)
}

function parse_statements() {
    while (word[at] != "end" && word[at] != "else") {
        if (word_kind[at] == "end") complain("an 'end' is missing")
        parse_statement()
    }
}

function parse_statement(    name, slot) {
    if (accept("if")) parse_if()
    else if (accept("while")) parse_while()
    else if (accept("return")) {
        parse_expression()
        emit_leave()
    } else if (accept("let")) {
        name = expect_name()
        expect("=")
        parse_expression()
        emit_store(declare(name))
    } else if (word[at + 1] == "(") parse_call(expect_name())
    else {
        slot = find_variable(expect_name())
        expect("=")
        parse_expression()
        emit_store(slot)
    }
}

function parse_if(    otherwise, after) {
    otherwise = new_label()
    after = new_label()
    parse_expression()
    emit_jump_if_zero(otherwise)
    parse_statements()
    emit_jump(after)
    place_label(otherwise)
    if (accept("else")) parse_statements()
    expect("end")
    place_label(after)
}

function parse_while(    again, after) {
    again = new_label()
    after = new_label()
    place_label(again)
    parse_expression()
    emit_jump_if_zero(after)
    parse_statements()
    expect("end")
    emit_jump(again)
    place_label(after)
}

function parse_expression(    operator) {
    parse_sum()
    if (word[at] ~ /^(==|!=|<|<=|>|>=)$/ && word_kind[at] == "sign") {
        operator = word[at++]
        emit_push()
        parse_sum()
        emit_operator(operator)
    }
}

function parse_sum(    operator) {
    parse_product()
    while (word[at] ~ /^[-+]$/ && word_kind[at] == "sign") {
        operator = word[at++]
        emit_push()
        parse_product()
        emit_operator(operator)
    }
}

function parse_product(    operator) {
    parse_value()
    while (word[at] ~ /^[*\/%]$/ && word_kind[at] == "sign") {
        operator = word[at++]
        emit_push()
        parse_value()
        emit_operator(operator)
    }
}

function parse_value() {
    if (word_kind[at] == "number") emit_number(word[at++])
    else if (word_kind[at] == "string") emit_address(string_label(word[at++]))
    else if (accept("(")) {
        parse_expression()
        expect(")")
    } else if (accept("-")) {
        emit_number(0)
        emit_push()
        parse_value()
        emit_operator("-")
    } else if (word[at + 1] == "(") parse_call(expect_name())
    else emit_load(find_variable(expect_name()))
}

# `put(x)` writes one byte to the standard output, `byte(address)` reads one from memory, `exit(status)` ends
# the program. All else that a program calls is written in Pebble.
function parse_call(name,    count) {
    call_file[name] = word_file[at]
    call_line[name] = word_line[at]
    expect("(")
    while (!accept(")")) {
        if (count) expect(",")
        parse_expression()
        count++
        if (!(name in BUILT_IN)) emit_push()
    }
    if (name in BUILT_IN) {
        if (count != 1) complain("'" name "' takes 1 value")
        emit_built_in(name)
        return
    }
    if (name in call_count && call_count[name] != count + 0) complain("'" name "' is called with " count + 0 " values here and " call_count[name] " before")
    call_count[name] = count + 0
    emit_call("function " name, count)
}

function declare(name) {
    if (name in variable) complain("'" name "' is declared twice")
    return variable[name] = ++variables
}

function find_variable(name) {
    if (!(name in variable)) complain("'" name "' is not declared; write 'let " name " = ...' first")
    return variable[name]
}

function accept(text) {
    if (word[at] != text || word_kind[at] == "string" || word_kind[at] == "end") return 0
    at++
    return 1
}

function expect(text) {
    if (!accept(text)) complain("expected '" text "', found '" word[at] "'")
}

function expect_name() {
    if (word_kind[at] != "name" || word[at] ~ /^(fun|let|if|else|while|return|end)$/)
        complain("expected a name, found '" word[at] "'")
    return word[at++]
}

function complain(message) {
    fail(word_file[at], word_line[at], message)
}
