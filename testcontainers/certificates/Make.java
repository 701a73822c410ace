// Makes the certificates of this directory anew: `java Make.java`, with a JDK's keytool on the path. They are kept because
// tests need them where there is no Java; they are worth nothing elsewhere, and valid until 2120.

import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;

class Make {
    static final String STORE = "store.p12";
    static final String LOCAL = "SAN=dns:localhost,dns:kafka,ip:127.0.0.1,ip:0:0:0:0:0:0:0:1";
    static final String LONG = "2020/01/01 00:00:00";

    public static void main(String[] args) throws Exception {
        Files.deleteIfExists(Path.of(STORE));
        authority("ca");
        authority("stranger-ca");
        issue("good", "ca", "RSA", LONG, 36500, LOCAL, "EKU=serverAuth");
        issue("wrong-host", "ca", "EC", LONG, 36500, "SAN=dns:elsewhere.example", "EKU=serverAuth");
        issue("expired", "ca", "EC", LONG, 366, LOCAL, "EKU=serverAuth");
        issue("not-yet-valid", "ca", "EC", "2100/01/01 00:00:00", 7300, LOCAL, "EKU=serverAuth");
        issue("stranger", "stranger-ca", "EC", LONG, 36500, LOCAL, "EKU=serverAuth");
        issue("client", "ca", "EC", LONG, 36500, "EKU=clientAuth");
        issue("stranger-client", "stranger-ca", "EC", LONG, 36500, "EKU=clientAuth");
        pair("self-signed", "EC", LONG, 36500, LOCAL);
        var store = KeyStore.getInstance(Path.of(STORE).toFile(), "storepass".toCharArray());
        for (var name : new String[] {"ca", "stranger-ca"}) {
            Files.writeString(Path.of(name + ".pem"), pem("CERTIFICATE", store.getCertificate(name).getEncoded()));
        }
        for (var name : new String[] {
            "good", "wrong-host", "expired", "not-yet-valid", "stranger", "client", "stranger-client", "self-signed"
        }) {
            var chain = new StringBuilder();
            for (Certificate each : store.getCertificateChain(name)) {
                // The authority itself is what the other side has.
                if (!each.equals(store.getCertificate("ca")) && !each.equals(store.getCertificate("stranger-ca"))) {
                    chain.append(pem("CERTIFICATE", each.getEncoded()));
                }
            }
            Files.writeString(Path.of(name + ".pem"), chain);
            var key = store.getKey(name, "storepass".toCharArray());
            Files.writeString(Path.of(name + ".key.pem"), pem("PRIVATE KEY", key.getEncoded()));
        }
        Files.delete(Path.of(STORE));
    }

    static void authority(String name) throws Exception {
        pair(name, "RSA", LONG, 36500, "BC:c=ca:true", "KU:c=keyCertSign,cRLSign");
    }

    static void issue(String name, String by, String kind, String from, int days, String... extensions) throws Exception {
        pair(name, kind, from, days);
        keytool("-certreq", "-alias", name, "-file", name + ".csr");
        var sign = new ArrayList<>(List.of("-gencert", "-alias", by, "-infile", name + ".csr", "-outfile", name + ".crt"));
        sign.addAll(List.of("-startdate", from, "-validity", String.valueOf(days)));
        extend(sign, extensions);
        keytool(sign.toArray(String[]::new));
        keytool("-importcert", "-noprompt", "-alias", name, "-file", name + ".crt");
        Files.delete(Path.of(name + ".csr"));
        Files.delete(Path.of(name + ".crt"));
    }

    static void pair(String name, String kind, String from, int days, String... extensions) throws Exception {
        var make = new ArrayList<>(List.of("-genkeypair", "-alias", name, "-dname", "CN=dispatcher test " + name));
        make.addAll(List.of("-keyalg", kind));
        make.addAll(kind.equals("RSA") ? List.of("-keysize", "2048") : List.of("-groupname", "secp256r1"));
        make.addAll(List.of("-startdate", from, "-validity", String.valueOf(days)));
        extend(make, extensions);
        keytool(make.toArray(String[]::new));
    }

    static void extend(List<String> command, String[] extensions) {
        for (var extension : extensions) {
            command.addAll(List.of("-ext", extension));
        }
    }

    static void keytool(String... args) throws Exception {
        var command = new ArrayList<>(List.of("keytool"));
        command.addAll(List.of(args));
        command.addAll(List.of("-keystore", STORE, "-storetype", "PKCS12", "-storepass", "storepass"));
        var process = new ProcessBuilder(command).redirectErrorStream(true).start();
        var output = new String(process.getInputStream().readAllBytes());
        if (process.waitFor() != 0) {
            throw new IllegalStateException(String.join(" ", command) + "\n" + output);
        }
    }

    static String pem(String label, byte[] der) {
        var text = Base64.getMimeEncoder(64, "\n".getBytes()).encodeToString(der);
        return "-----BEGIN " + label + "-----\n" + text + "\n-----END " + label + "-----\n";
    }
}
