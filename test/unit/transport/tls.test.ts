import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkTlsFiles } from "../../../src/transport/tls.js";
import { createCertificate } from "../../support/certificate.js";

const DAY_MS = 86_400_000;
const open = { passphrase: undefined };

describe("the files for TLS", () => {
  it("are taken where the key is the certificate's, with the passphrase that opens it", () => {
    expect(checkTlsFiles({ ...createCertificate(), ...open })).toBeUndefined();
    const passphrase = "open sesame";
    expect(checkTlsFiles({ ...createCertificate({ passphrase }), passphrase })).toBeUndefined();
  });

  it("that cannot be read are named, with the option and why", () => {
    const { certFile, keyFile } = createCertificate();
    expect(() => checkTlsFiles({ certFile: "/nowhere/cert.pem", keyFile, ...open })).toThrow(
      "tlsCertFile: /nowhere/cert.pem cannot be read",
    );
    expect(() => checkTlsFiles({ certFile, keyFile: tmpdir(), ...open })).toThrow(
      `tlsKeyFile: ${tmpdir()} cannot be read`,
    );
  });

  it("that hold something else are named", () => {
    const { certFile, keyFile } = createCertificate();
    const text = join(dirname(certFile), "text");
    writeFileSync(text, "hello");
    expect(() => checkTlsFiles({ certFile: text, keyFile, ...open })).toThrow(
      `tlsCertFile: ${text} is not a PEM certificate`,
    );
    expect(() => checkTlsFiles({ certFile, keyFile: certFile, ...open })).toThrow(
      /^tlsKeyFile: .* is not a PEM key/,
    );
  });

  it("whose key stays locked are told by the passphrase's option", () => {
    const files = createCertificate({ passphrase: "right" });
    expect(() => checkTlsFiles({ ...files, ...open })).toThrow(/opens without tlsKeyPassphrase/);
    expect(() => checkTlsFiles({ ...files, passphrase: "wrong" })).toThrow(
      /not a PEM key that tlsKeyPassphrase/,
    );
  });

  it("that do not belong together are told", () => {
    const [{ certFile }, { keyFile }] = [createCertificate(), createCertificate()];
    expect(() => checkTlsFiles({ certFile, keyFile, ...open })).toThrow(
      `tlsKeyFile: ${keyFile} is not the key of the certificate in ${certFile}`,
    );
  });

  it("that clients will refuse are taken with a warning", () => {
    const over = createCertificate({ until: new Date(Date.now() - DAY_MS / 2) });
    expect(checkTlsFiles({ ...over, ...open })).toMatch(/expired on .* clients will refuse it/);
    const early = createCertificate({ from: new Date(Date.now() + DAY_MS / 2) });
    expect(checkTlsFiles({ ...early, ...open })).toMatch(/is not valid before .*: clients will refuse it/);
  });
});
