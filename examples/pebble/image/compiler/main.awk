# The whole of the compiler in six lines; every part is in a file of its own.

BEGIN {
    read_words(ENVIRON["PEBBLE_SOURCE"])
    start_program()
    parse_program()
    place_strings()
    resolve_references()
    write_executable()
}
