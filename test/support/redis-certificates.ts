/** Certificate authorities and certificates of a test's own, made by openssl and gone with the test. */

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Paths of PEM files. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface Certificates {
  readonly ca: string;
  /** Of an authority that signed nothing. */
  readonly otherCa: string;
  /** For 127.0.0.1. */
  readonly byAddress: Certificate;
  /** For NAME alone. */
  readonly byName: Certificate;
  readonly client: Certificate;
  remove(): Promise<void>;
}

export const NAME = "redis.test";

export async function createCertificates(): Promise<Certificates> {
  const directory = await mkdtemp(join(tmpdir(), "starling-tls-"));
  const path = (name: string): string => join(directory, name);
  const pair = (name: string): Certificate => ({ cert: path(`${name}.pem`), key: path(`${name}.key`) });

  async function authority(name: string): Promise<Certificate> {
    const { cert, key } = pair(name);
    await run("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
      ...["-subj", `/CN=${name}`, "-keyout", key, "-out", cert],
    ]);
    return { cert, key };
  }

  async function signed(name: string, by: Certificate, extensions: string): Promise<Certificate> {
    const { cert, key } = pair(name);
    const request = path(`${name}.csr`);
    await run("openssl", [
      ...["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-subj", `/CN=${name}`, "-keyout", key, "-out", request],
    ]);
    await writeFile(path(`${name}.ext`), extensions);
    await run("openssl", [
      ...["x509", "-req", "-in", request, "-CA", by.cert, "-CAkey", by.key, "-CAcreateserial"],
      ...["-days", "2", "-extfile", path(`${name}.ext`), "-out", cert],
    ]);
    return { cert, key };
  }

  try {
    const [ca, other] = [await authority("ca"), await authority("other")];
    return {
      ca: ca.cert,
      otherCa: other.cert,
      byAddress: await signed("address", ca, "subjectAltName=IP:127.0.0.1\n"),
      byName: await signed("name", ca, `subjectAltName=DNS:${NAME}\n`),
      client: await signed("client", ca, "extendedKeyUsage=clientAuth\n"),
      remove: () => rm(directory, { recursive: true, force: true }),
    };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/** What lets a server of any kind speak TLS; who connects needs no certificate unless told. */
export function tlsArgs(port: number, { ca }: Certificates, { cert, key }: Certificate): string[] {
  return [
    ...["--tls-port", `${port}`, "--tls-cert-file", cert, "--tls-key-file", key],
    ...["--tls-ca-cert-file", ca, "--tls-auth-clients", "no"],
  ];
}
