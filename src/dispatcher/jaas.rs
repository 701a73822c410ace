//! The one line of JAAS that Kafka's `sasl.jaas.config` holds: `<class> <flag> (<option>=<value>)*;`, with Java's quotes,
//! escapes and comments. Errors never show a value: it may be a password.

use std::collections::BTreeMap;

/// A login module and its options.
#[derive(PartialEq)]
pub(super) struct Entry {
    /// The last part of its class name, such as `PlainLoginModule`.
    pub(super) module: String,
    pub(super) options: BTreeMap<String, String>,
}

enum Token {
    Word(String),
    Quoted(String),
    Equals,
    Semicolon,
}

/// Reads the entry; what is wrong with it if it cannot be read.
pub(super) fn parse(text: &str) -> Result<Entry, String> {
    let mut tokens = tokens(text)?.into_iter();
    let Some(Token::Word(class)) = tokens.next() else { return Err("it names no login module".into()) };
    let flags = ["required", "requisite", "sufficient", "optional"];
    match tokens.next() {
        Some(Token::Word(flag)) if flags.contains(&flag.to_ascii_lowercase().as_str()) => {}
        _ => return Err(format!("behind the login module there must be one of {}", flags.join(", "))),
    }
    let mut options = BTreeMap::new();
    loop {
        let name = match tokens.next() {
            Some(Token::Semicolon) => break,
            Some(Token::Word(name) | Token::Quoted(name)) => name,
            Some(Token::Equals) => return Err("an `=` has no option's name before it".into()),
            None => return Err("it does not end with a semicolon".into()),
        };
        let is = tokens.next();
        let (Some(Token::Equals), Some(Token::Word(value) | Token::Quoted(value))) = (is, tokens.next()) else {
            return Err("an option has no value, or something stands between two options: write name=\"value\"".into());
        };
        options.insert(name, value);
    }
    if tokens.next().is_some() {
        return Err("it has more than one login module: leave one".into());
    }
    let module = class.rsplit('.').next().unwrap_or_default().to_owned();
    Ok(Entry { module, options })
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\0'..=' ' => {}
            '=' => tokens.push(Token::Equals),
            ';' => tokens.push(Token::Semicolon),
            '/' => match chars.next_if(|&c| c == '*') {
                Some(_) => {
                    let mut last = ' ';
                    while let Some(c) = chars.next()
                        && !(last == '*' && c == '/')
                    {
                        last = c;
                    }
                }
                None => while chars.next_if(|&c| c != '\n').is_some() {},
            },
            '"' | '\'' => tokens.push(Token::Quoted(quoted(&mut chars, c)?)),
            _ => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|&c| c > ' ' && !matches!(c, '=' | ';' | '/' | '"' | '\'')) {
                    word.push(c);
                }
                // Java would take the rest of the line for a comment, or for another word, and use half a password.
                if chars.peek().is_some_and(|c| matches!(c, '/' | '"' | '\'')) {
                    return Err("an unquoted value has a slash or a quote in it: put the value into quotes".into());
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

/// The text up to the closing quote, with the escapes of Java's `StreamTokenizer`.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, quote: char) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match chars.next() {
            None | Some('\n' | '\r') => return Err("a quote is not closed".into()),
            Some(c) if c == quote => return Ok(text),
            Some('\\') => match chars.next() {
                Some(first @ '0'..='7') => {
                    let mut value = first.to_digit(8).unwrap_or_default();
                    let most = if first <= '3' { 2 } else { 1 };
                    for _ in 0..most {
                        let Some(digit) = chars.next_if(|c| c.is_digit(8)).and_then(|c| c.to_digit(8)) else { break };
                        value = value * 8 + digit;
                    }
                    text.extend(char::from_u32(value));
                }
                Some('a') => text.push('\u{7}'),
                Some('b') => text.push('\u{8}'),
                Some('f') => text.push('\u{c}'),
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some('v') => text.push('\u{b}'),
                Some(other) => text.push(other),
                None => return Err("a quote is not closed".into()),
            },
            Some(c) => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Vec<(String, String)>) {
        let entry = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        (entry.module, entry.options.into_iter().collect())
    }

    #[test]
    fn the_lines_of_kafkas_documentation_are_read() {
        let (module, options) = read(
            r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="alice-secret";"#,
        );
        assert_eq!(module, "PlainLoginModule");
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(options, [pair("password", "alice-secret"), pair("username", "alice")]);
        let (module, options) = read("a.b.OAuthBearerLoginModule REQUIRED ;");
        assert_eq!((module.as_str(), options.len()), ("OAuthBearerLoginModule", 0));
    }

    #[test]
    fn quotes_escapes_and_comments_are_javas() {
        let cases = [
            (r#"M required p="a b;c=d/e//f";"#, "a b;c=d/e//f"),
            (r#"M required p='say "hi"';"#, r#"say "hi""#),
            (r#"M required p="q\"q\\b\tx\101\7z";"#, "q\"q\\b\txA\u{7}z"),
            (r#"M required p="\400";"#, "\u{20}0"),
            ("M required p=plain-word_1!;", "plain-word_1!"),
            ("M required p = \"spaces\"  ;", "spaces"),
            ("M required // why\n /* p=no */ p=\"日本\";", "日本"),
            ("M required \"p\"=\"\";", ""),
        ];
        for (text, value) in cases {
            assert_eq!(read(text).1, [("p".to_owned(), value.to_owned())], "{text}");
        }
    }

    #[test]
    fn no_text_breaks_the_parser_and_what_it_refuses_is_not_shown() {
        let parts = ["M", " required ", "p", "=", "\"", "'", "\\", "/", "*", "s3cret", ";", "\n", "7", " ", "日"];
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..50_000 {
            let text: String = (0..rng.usize(..20)).map(|_| parts[rng.usize(..parts.len())]).collect();
            if let Err(error) = parse(&text) {
                assert!(!error.contains("s3cret"), "{text:?}: {error}");
            }
        }
    }

    #[test]
    fn what_is_no_entry_is_an_error_that_shows_no_value() {
        for text in [
            "",
            ";",
            "M",
            "M s3cret;",
            "M required password=\"s3cret\"",
            "M required password=\"s3cret;",
            "M required password=s3cret/x;",
            "M required password=s3cret\"x\";",
            "M required password s3cret;",
            "M required password=;",
            "M required =s3cret;",
            "M required password=\"s3cret\" \"s3cret\";",
            "M required password=\"s3cret\"; N required;",
        ] {
            let error = parse(text).err().unwrap_or_else(|| panic!("read: {text}"));
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
