/** The files that make a listener speak TLS, checked before the listener is made. */

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";

export interface TlsFiles {
  /** PEM: the certificate, and behind it its chain. */
  readonly certFile: string;
  readonly keyFile: string;
  readonly passphrase: string | undefined;
}

/**
 * @returns what an operator should know of a certificate that is taken all the same; undefined: nothing
 * @throws Error naming the option, the file and what is wrong with it
 */
export function checkTlsFiles(
  { certFile, keyFile, passphrase }: TlsFiles,
  now = new Date(),
): string | undefined {
  const certificate = attempt(`tlsCertFile: ${certFile}`, "is not a PEM certificate", () => {
    return new X509Certificate(readFileSync(certFile));
  });
  const key = attempt(
    `tlsKeyFile: ${keyFile}`,
    passphrase === undefined
      ? "is not a PEM key that opens without tlsKeyPassphrase"
      : "is not a PEM key that tlsKeyPassphrase opens",
    () =>
      createPrivateKey({ key: readFileSync(keyFile), ...(passphrase === undefined ? {} : { passphrase }) }),
  );
  if (!certificate.checkPrivateKey(key)) {
    throw new Error(`tlsKeyFile: ${keyFile} is not the key of the certificate in ${certFile}`);
  }
  if (new Date(certificate.validTo) < now) {
    return `the certificate in ${certFile} expired on ${certificate.validTo}: clients will refuse it`;
  }
  if (new Date(certificate.validFrom) > now) {
    return `the certificate in ${certFile} is not valid before ${certificate.validFrom}: clients will refuse it until then`;
  }
  return undefined;
}

function attempt<T>(what: string, otherwise: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    // The file system names its calls; whatever else is wrong stands in the file.
    const unreadable = (error as NodeJS.ErrnoException).syscall !== undefined;
    throw new Error(`${what} ${unreadable ? "cannot be read" : otherwise}`, { cause: error });
  }
}
