//! The command-line tool; everything is in the library's `cli` room.

fn main() {
    dispatcher::cli::main()
}
