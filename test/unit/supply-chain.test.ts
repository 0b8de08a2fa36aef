/** The native binaries: pinned, refused where they differ, alone in the image; and the way back to upstream. */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const INSTALLED = join(ROOT, "node_modules/uWebSockets.js");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

interface Checks {
  readonly pinned: () => Map<string, string>;
  readonly checkBinaries: (options?: { directory?: string; own?: string }) => string | undefined;
}
const { pinned, checkBinaries } = (await import(
  pathToFileURL(join(ROOT, "scripts/uws-binaries.mjs")).href
)) as Checks;

const OWN = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "starling-supply-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** All of its binaries, by links: whoever changes one writes a new file. */
function copyOfPackage(target: string): string {
  mkdirSync(target, { recursive: true });
  for (const entry of readdirSync(INSTALLED, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const from = join(INSTALLED, entry.name);
    try {
      linkSync(from, join(target, entry.name));
    } catch {
      cpSync(from, join(target, entry.name)); // another file system
    }
  }
  return target;
}

function spoil(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  rmSync(path);
  writeFileSync(path, bytes);
}

describe("scripts/uWebSockets.sha256", () => {
  it("pins what may load: Linux on x64 and arm64, Node 20, 22 and 24; and that is what is installed", () => {
    const expected = [115, 127, 137].flatMap((abi) => [
      `uws_linux_x64_${abi}.node`,
      `uws_linux_arm64_${abi}.node`,
    ]);
    expect([...pinned().keys()].sort()).toEqual(expected.sort());
    for (const file of expected) expect([file, existsSync(join(INSTALLED, file))]).toEqual([file, true]);
    expect(checkBinaries()).toBeUndefined();
  });

  it("has a binary that is one bit off refused, with file, both sums and what to do", () => {
    const directory = copyOfPackage(temporary());
    spoil(join(directory, OWN));
    const said = checkBinaries({ directory });
    expect(said).toContain(join(directory, OWN));
    expect(said).toMatch(
      new RegExp(`found +(?!${pinned().get(OWN)})[0-9a-f]{64}\n +expected ${pinned().get(OWN)}\n`),
    );
    expect(said).toMatch(/npm ci.*docs\/supply-chain\.md.*--pin/s);
  });

  it("has a binary of which nothing is known refused where it would load", () => {
    const said = checkBinaries({ own: "uws_linux_x64_141.node" });
    expect(said).toMatch(/uws_linux_x64_141\.node.*is not pinned.*uws_linux_x64_137\.node/s);
  });

  it("stops the build", () => {
    const checkout = temporary();
    mkdirSync(join(checkout, "scripts"));
    for (const file of ["build.mjs", "client-package.mjs", "uws-binaries.mjs", "uWebSockets.sha256"]) {
      cpSync(join(ROOT, "scripts", file), join(checkout, "scripts", file));
    }
    spoil(join(copyOfPackage(join(checkout, "node_modules/uWebSockets.js")), OWN));
    const { status, stderr } = spawnSync(process.execPath, ["scripts/build.mjs"], {
      cwd: checkout,
      encoding: "utf8",
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^build: .*is not the binary/);
  });
});

describe("the image", () => {
  /** What its RUN does once npm has installed, on a copy. */
  function trim(app: string) {
    const [, commands] =
      /^RUN npm ci --omit=dev --ignore-scripts --workspaces=false \\\n *&& ([^]*?[^\\])\n\n/m.exec(
        read("Dockerfile"),
      ) ?? [];
    if (commands === undefined) throw new Error("the Dockerfile has no RUN npm ci --omit=dev ... && ...");
    cpSync(join(ROOT, "scripts/uWebSockets.sha256"), join(app, "scripts/uWebSockets.sha256"));
    return spawnSync("sh", ["-c", commands.replaceAll("/app/", `${app}/`)], { cwd: app, encoding: "utf8" });
  }

  it("holds one binary, that of its own platform", () => {
    const app = temporary();
    const directory = copyOfPackage(join(app, "node_modules/uWebSockets.js"));
    expect(readdirSync(directory).filter((name) => name.endsWith(".node")).length).toBeGreaterThan(40);
    expect(trim(app)).toMatchObject({ status: 0, stdout: `${OWN}: OK\n` });
    expect(readdirSync(directory).filter((name) => name.endsWith(".node"))).toEqual([OWN]);
  });

  it("is not built with a binary other than the pinned one", () => {
    const app = temporary();
    spoil(join(copyOfPackage(join(app, "node_modules/uWebSockets.js")), OWN));
    expect(trim(app)).toMatchObject({ status: 1, stdout: `${OWN}: FAILED\n` });
  });

  it("has no layer with the others: its own stage installs nothing", () => {
    const last = read("Dockerfile")
      .split(/^FROM /m)
      .at(-1)!;
    expect(last).not.toMatch(/^RUN/m);
    expect(last).toMatch(/^COPY --from=dependencies \/app\/node_modules node_modules$/m);
  });
});

describe("going over to upstream", () => {
  const manifest = JSON.parse(read("package.json")) as { dependencies: Record<string, string> };
  const alias = /^npm:(uwebsockets)@(\d+\.\d+\.\d+)$/.exec(manifest.dependencies["uWebSockets.js"] ?? "");
  const [, line] =
    /"uWebSockets\.js": "(github:uNetworking\/uWebSockets\.js#v[\d.]+)"/.exec(read("docs/supply-chain.md")) ??
    [];

  it("is one line: only package.json and its lock name the package of the registry", () => {
    expect(alias).not.toBeNull();
    expect(line).toBeDefined();
    const grep = ["grep", "--files-with-matches", "-E", `["']${alias![1]}["'/]|npm:${alias![1]}@`];
    const { stdout } = spawnSync("git", grep, { cwd: ROOT, encoding: "utf8" });
    expect(stdout.trim().split("\n").sort()).toEqual(["package-lock.json", "package.json"]);
  });

  it("keeps the documented commit: the package says which of upstream's it repackages", () => {
    expect(read("docs/supply-chain.md")).toContain(
      readFileSync(join(INSTALLED, "source_commit"), "utf8").trim(),
    );
  });

  it("works: npm installs a Git tag under that name, and what is imported by that name serves", async () => {
    const directory = temporary();
    const upstream = join(directory, "upstream");
    mkdirSync(upstream);
    for (const file of ["uws.js", "ESM_wrapper.mjs", "index.d.ts", OWN])
      cpSync(join(INSTALLED, file), join(upstream, file));
    // As upstream has it.
    const exports = { import: "./ESM_wrapper.mjs", require: "./uws.js" };
    const manifest = {
      name: "uWebSockets.js",
      version: "20.66.0",
      main: "uws.js",
      types: "./index.d.ts",
      exports,
    };
    writeFileSync(join(upstream, "package.json"), JSON.stringify(manifest));
    const run = (cwd: string, command: string, ...args: string[]): void => {
      const { status, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8" });
      if (error !== undefined) throw error;
      expect([command, ...args, status, status === 0 ? "" : stderr]).toEqual([command, ...args, 0, ""]);
    };
    const identity = ["-c", "user.name=a", "-c", "user.email=a@localhost"];
    run(upstream, "git", "init", "--quiet");
    run(upstream, "git", "add", ".");
    run(upstream, "git", ...identity, "commit", "--quiet", "-m", "upstream");
    run(upstream, "git", "tag", "v20.66.0");

    const app = join(directory, "app");
    mkdirSync(app);
    const source = line!.replace("github:uNetworking/uWebSockets.js", `git+file://${upstream}`);
    writeFileSync(
      join(app, "package.json"),
      JSON.stringify({ private: true, type: "module", dependencies: { "uWebSockets.js": source } }),
    );
    run(app, "npm", "install", "--no-audit", "--no-fund");
    const [importLine] = /^import uWS, [^;]*"uWebSockets\.js";$/m.exec(read("src/transport/uws.ts"))!;
    writeFileSync(
      join(app, "main.js"),
      `${importLine.replace(/, \{.*\}/s, "")}
      uWS.App().get("/*", (res) => res.end("upstream")).listen("127.0.0.1", 0, (socket) => {
        console.log(uWS.us_socket_local_port(socket));
      });`,
    );
    const server = spawn(process.execPath, ["main.js"], { cwd: app, stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void server.kill("SIGKILL"));
    const [port] = (await once(server.stdout, "data")) as [Buffer];
    expect(await (await fetch(`http://127.0.0.1:${port.toString().trim()}/`)).text()).toBe("upstream");
  });
});
