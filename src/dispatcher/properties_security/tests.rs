use super::*;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n";

fn applied(text: &str) -> (Config, Vec<String>) {
    let mut config = Config::default();
    let notes = config.apply_properties(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    (config, notes)
}

fn refused(text: &str) -> String {
    let error = Config::default().apply_properties(text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    shown
}

fn jaas(module: &str, options: &str) -> String {
    format!("sasl.jaas.config=org.apache.kafka.common.security.x.{module} required {options};\n")
}

fn scratch(name: &str, content: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("dispatcher-properties-{}-{name}", std::process::id()));
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn passwords_by_kafkas_names_become_credentials() {
    for (mechanism, module) in
        [("PLAIN", "PlainLoginModule"), ("SCRAM-SHA-256", "ScramLoginModule"), ("SCRAM-SHA-512", "ScramLoginModule")]
    {
        let line = jaas(module, "username=\"alice\" password=\"s3cret;=\"");
        let (config, notes) = applied(&format!("security.protocol=SASL_SSL\nsasl.mechanism={mechanism}\n{line}"));
        let made = match mechanism {
            "PLAIN" => Sasl::plain("alice", "s3cret;="),
            "SCRAM-SHA-256" => Sasl::scram_sha_256("alice", "s3cret;="),
            _ => Sasl::scram_sha_512("alice", "s3cret;="),
        };
        assert_eq!((config.sasl, config.tls, notes.len()), (Some(made), Some(Tls::new()), 0));
    }
    let line = jaas("ScramLoginModule", "username=\"id\" password=\"hmac\" tokenauth=\"true\"");
    let (config, _) = applied(&format!("security.protocol=sasl_ssl\nsasl.mechanism=SCRAM-SHA-512\n{line}"));
    assert_eq!(config.sasl, Some(Sasl::scram_sha_512("id", "hmac").delegation_token()));
}

#[test]
fn sasl_without_tls_has_to_be_allowed() {
    let line = jaas("PlainLoginModule", "username=\"alice\" password=\"s3cret\"");
    let text = format!("bootstrap.servers=a:1\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n{line}");
    let (config, _) = applied(&text);
    let error = config.validate().unwrap_err().to_string();
    assert!(error.contains("dispatcher.allow.sasl.plaintext=true") && error.contains("danger_sasl_without_tls"));
    let (config, _) = applied(&format!("{text}dispatcher.allow.sasl.plaintext=true\n"));
    config.validate().unwrap();
    assert!(config.tls.is_none());
}

#[test]
fn tls_by_kafkas_names_becomes_settings() {
    let (ca, pair) = (scratch("ca.pem", PEM.as_bytes()), scratch("pair.pem", format!("{PEM}{KEY}").as_bytes()));
    let (config, notes) = applied(&format!(
        "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location={}\nssl.keystore.type=PEM\n\
         ssl.keystore.location={}\nssl.enabled.protocols=TLSv1.3\nssl.endpoint.identification.algorithm=HTTPS\n\
         ssl.truststore.password=s3cret\nssl.cipher.suites=x\nssl.no.such=1\nsasl.mechanism=PLAIN\n",
        ca.display(),
        pair.display()
    ));
    let expected = Tls::new()
        .roots_file(&ca)
        .client_certificate_files(&pair, &pair)
        .min_version(TlsVersion::Tls13)
        .max_version(TlsVersion::Tls13);
    assert_eq!((config.tls, config.sasl), (Some(expected), None));
    for key in ["ssl.truststore.password", "ssl.cipher.suites", "ssl.no.such", "sasl.mechanism"] {
        assert!(notes.iter().any(|note| note.contains(key)), "{key}: {notes:?}");
    }
    assert!(!format!("{notes:?}").contains("s3cret"));

    let line = |pem: &str| pem.replace('\n', "\\n");
    let (config, notes) = applied(&format!(
        "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.certificates={0}\nssl.keystore.type=PEM\n\
         ssl.keystore.certificate.chain={0}\nssl.keystore.key={1}\n",
        line(PEM),
        line(KEY)
    ));
    let tls = Tls::new().roots_pem(PEM.trim()).client_certificate_pem(PEM.trim(), KEY.trim());
    assert_eq!((config.tls, notes.len()), (Some(tls), 0));
    [ca, pair].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

/// What the error about names tells to do has to work.
#[test]
fn names_are_not_checked_where_any_certificate_is_accepted_for_tests() {
    let any = "dispatcher.danger.accept.any.certificate=TRUE";
    let (config, notes) = applied(&format!("security.protocol=SSL\nssl.endpoint.identification.algorithm=\n{any}"));
    assert_eq!((config.tls, notes.len()), (Some(Tls::new().danger_accept_any_certificate()), 0));
    let mut config = Config { tls: Some(Tls::new()), ..Config::default() };
    assert_eq!(config.apply_properties(any).unwrap(), [""; 0]);
    assert!(config.tls.is_some_and(|tls| tls.danger_accept_any_certificate));
    for text in [any.to_owned(), format!("security.protocol=PLAINTEXT\n{any}")] {
        let (config, notes) = applied(&text);
        assert!(config.tls.is_none() && notes.len() == 1 && notes[0].contains("there is no TLS"), "{notes:?}");
    }
}

#[test]
fn librdkafkas_names_are_told_by_kafkas() {
    let error = refused("security.protocol=SASL_SSL\nsasl.mechanisms=PLAIN\nsasl.password=s3cret");
    assert!(error.contains("use sasl.mechanism"), "{error}");
    let (_, notes) = applied("security.protocol=SSL\nssl.ca.location=/ca.pem\nssl.key.location=k");
    assert!(notes.iter().any(|note| note.contains("ssl.truststore.location")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("ssl.keystore.location")), "{notes:?}");
}

#[test]
fn a_file_wins_over_what_was_trusted_before() {
    let mut config =
        Config { tls: Some(Tls::new().roots_file("/old/ca.pem").danger_accept_any_certificate()), ..Config::default() };
    let pem = PEM.replace('\n', "\\n");
    let text = format!(
        "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.certificates={pem}\n\
         dispatcher.danger.accept.any.certificate=false\n"
    );
    config.apply_properties(&text).unwrap();
    assert_eq!(config.tls, Some(Tls::new().roots_pem(PEM.trim())));
}

#[test]
fn stores_that_cannot_be_read_name_the_property_the_path_and_the_way_out() {
    let jks = scratch("store.jks", b"\xfe\xed\xfe\xed");
    let encrypted = scratch("encrypted.pem", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\ns3cret");
    let path = |path: &Path| path.display().to_string();
    for (text, says) in [
        (
            "ssl.truststore.type=JKS\nssl.truststore.location=t.jks".into(),
            vec!["ssl.truststore.type", "keytool", "t.jks"],
        ),
        ("ssl.keystore.type=PKCS12\nssl.keystore.location=k.p12".into(), vec!["ssl.keystore.type", "openssl", "k.p12"]),
        (format!("ssl.truststore.location={}", path(&jks)), vec!["ssl.truststore.location", "keytool", "store.jks"]),
        (
            "ssl.truststore.location=no/such.pem".into(),
            vec!["ssl.truststore.location", "no/such.pem", "correct the path"],
        ),
        (
            format!("ssl.keystore.location={}", path(&encrypted)),
            vec!["ssl.keystore.location", "encrypted", "openssl pkey"],
        ),
        ("ssl.truststore.certificates=/ca.pem".into(), vec!["ssl.truststore.certificates", "not PEM"]),
        ("ssl.keystore.key=s3cret".into(), vec!["ssl.keystore.key", "not PEM"]),
        (format!("ssl.keystore.key={}", KEY.replace('\n', "\\n")), vec!["ssl.keystore.certificate.chain", "missing"]),
        (
            "ssl.endpoint.identification.algorithm=".into(),
            vec!["identification", "dispatcher.danger.accept.any.certificate"],
        ),
        ("ssl.enabled.protocols=TLSv1.1,SSLv3".into(), vec!["ssl.enabled.protocols", "TLSv1.2"]),
    ] {
        let error = refused(&format!("security.protocol=SSL\n{text}\n"));
        says.iter().for_each(|says| assert!(error.contains(says), "{says}: {error}"));
    }
    [jks, encrypted].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn what_would_be_less_secure_than_it_reads_is_refused() {
    let password = "username=\"alice\" password=\"s3cret\"";
    for (text, says) in [
        ("ssl.truststore.type=PEM".into(), "security.protocol"),
        (format!("sasl.mechanism=PLAIN\n{}", jaas("PlainLoginModule", password)), "security.protocol"),
        ("security.protocol=SASL_TLS".into(), "SASL_SSL"),
        ("security.protocol=SASL_SSL".into(), "GSSAPI"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI".into(), "SCRAM-SHA-512"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN".into(), "sasl.jaas.config"),
        (format!("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n{}", jaas("ScramLoginModule", password)), "PlainLoginModule"),
        (format!("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n{}", jaas("PlainLoginModule", "username=\"s3cret\"")), "password"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=X required password=\"s3cret".into(), "quote"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER".into(), "oauthbearer_with"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=https://idp/token".into(), "callback"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=file:///no/such".into(), "/no/such"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.client.callback.handler.class=com.example.Mine".into(), "Java"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.login.callback.handler.class=a.IAMOAuthBearerLoginCallbackHandler".into(), "Java"),
        ("dispatcher.allow.sasl.plaintext=yes".into(), "true or false"),
    ] {
        let error = refused(&format!("{text}\n"));
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[test]
fn oauthbearer_takes_its_tokens_from_a_file_a_callback_or_nowhere_safe() {
    let token = scratch("token", b"a.b.c\n");
    let text = "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n";
    let url = format!(
        "sasl.oauthbearer.token.endpoint.url=file://{}\nsasl.login.refresh.window.factor=0.8\n",
        token.display()
    );
    if cfg!(unix) {
        let (config, notes) = applied(&format!("{text}{url}"));
        assert_eq!(config.sasl, Some(Sasl::oauthbearer_file(&token)));
        assert!(notes.len() == 1 && notes[0].contains("sasl.login.refresh.window.factor"), "{notes:?}");

        let options = "extension_logicalCluster=\"lkc-1\" clientSecret=\"s3cret\"";
        let handler = "sasl.login.callback.handler.class=a.b.OAuthBearerLoginCallbackHandler\n";
        let url = url.replace("file://", "file:");
        let (config, notes) = applied(&format!("{text}{url}{handler}{}", jaas("OAuthBearerLoginModule", options)));
        let extensions = [("logicalCluster".to_owned(), "lkc-1".to_owned())].into();
        assert_eq!(config.sasl, Some(Sasl::file_with_extensions(token.clone(), extensions)));
        assert!(notes.iter().any(|note| note.contains("clientSecret") && !note.contains("s3cret")), "{notes:?}");
    }
    let line = jaas("OAuthBearerLoginModule", "unsecuredLoginStringClaim_sub=\"alice\" unsecuredValidatorX=\"1\"");
    let (config, notes) = applied(&format!("{text}{line}"));
    assert_eq!(config.sasl, Some(Sasl::oauthbearer_unsecured("alice")));
    assert!(notes.len() == 1 && notes[0].contains("unsecuredValidatorX"), "{notes:?}");

    let callback = Sasl::oauthbearer_with(|| async { Err("not now") });
    let mut config = Config { sasl: Some(callback.clone()), ..Config::default() };
    config.apply_properties(&format!("{text}{}", jaas("OAuthBearerLoginModule", ""))).unwrap();
    assert_eq!(config.sasl, Some(callback));
    std::fs::remove_file(token).unwrap();
}

#[test]
fn a_file_that_says_nothing_about_security_leaves_it_alone_and_plaintext_takes_it_away() {
    let mut config = Config { tls: Some(Tls::new()), sasl: Some(Sasl::plain("a", "b")), ..Config::default() };
    config.apply_properties("linger.ms=5").unwrap();
    assert!(config.tls.is_some() && config.sasl.is_some());
    config.apply_properties("security.protocol=PLAINTEXT").unwrap();
    assert!(config.tls.is_none() && config.sasl.is_none());
}
