# From source text to words.
#
# Result: word[1..words] with, for each, word_kind (name, number, string, sign, end) and where it stands
# (word_file, word_line). A string's text is kept without its quotes and with its escapes resolved.

# Reads one file, and first the libraries that it uses: `use text` reads library/text.peb once.
function read_words(path,    line, number, status) {
    while ((status = (getline line < path)) > 0) {
        number++
        if (line ~ /^use +[a-z]+ *$/) {
            split(line, parts)
            use_library(parts[2], path, number)
        } else
            split_line(line, path, number)
    }
    if (status < 0) fail(path, 0, "cannot be read")
    close(path)
    add_word("end", "end of file", path, number)
}

function use_library(name, path, number,    library, line) {
    if (name in used) return
    used[name] = 1
    library = ENVIRON["PEBBLE_LIBRARY"] "/" name ".peb"
    if ((getline line < library) < 0) fail(path, number, "there is no library '" name "' (" library ")")
    close(library)
    read_words(library)
}

function split_line(line, path, number,    text) {
    while (1) {
        sub(/^[ \t\r]+/, "", line)
        if (line == "" || line ~ /^#/) return
        if (match(line, /^[a-zA-Z_][a-zA-Z0-9_]*/)) {
            add_word("name", substr(line, 1, RLENGTH), path, number)
        } else if (match(line, /^[0-9]+/)) {
            text = substr(line, 1, RLENGTH) + 0
            # One instruction can carry this much on every machine.
            if (text > 2147483647) fail(path, number, "a number is at most 2147483647")
            add_word("number", text, path, number)
        } else if (match(line, /^"([^"\\]|\\.)*"/)) {
            add_word("string", unescape(substr(line, 2, RLENGTH - 2), path, number), path, number)
        } else if (match(line, /^(==|!=|<=|>=|[-+*\/%<>=(),])/)) {
            add_word("sign", substr(line, 1, RLENGTH), path, number)
        } else
            fail(path, number, "cannot read '" line "'")
        line = substr(line, RLENGTH + 1)
    }
}

function unescape(text, path, number,    plain, at, letter) {
    while (at = index(text, "\\")) {
        letter = substr(text, at + 1, 1)
        plain = plain substr(text, 1, at - 1)
        if (letter == "n") plain = plain "\n"
        else if (letter == "t") plain = plain "\t"
        else if (letter == "\"" || letter == "\\") plain = plain letter
        else fail(path, number, "there is no escape \\" letter)
        text = substr(text, at + 2)
    }
    return plain text
}

function add_word(kind, text, path, number) {
    words++
    word[words] = text
    word_kind[words] = kind
    word_file[words] = path
    word_line[words] = number
}

# Every error ends here: `FILE:LINE: MESSAGE`.
function fail(path, number, message) {
    printf "pebble: %s:%s %s\n", path, (number ? number ":" : ""), message | "cat >&2"
    close("cat >&2")
    exit 1
}
