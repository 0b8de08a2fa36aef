/** How this machine reaches its package registries, handed on to a root: no file of ours names a host. */

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";

/** What clients of registries, and TLS, read from the environment. */
const HANDED_ON =
  /^(npm_config_(?!prefix|globalconfig|userconfig|local_prefix|cache)\w+|PIP_\w+|(https?|ftp|all|no)_proxy|NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|CI|TERM|NO_COLOR|FORCE_COLOR)$/i;

/** Authorities, and how pip and npm reach their registries; the same path in the root. */
const COPIED = ["/usr/local/share/ca-certificates", "/etc/pip.conf", "/etc/resolv.conf", "/etc/hosts"];

const output = (command, args) => {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? stdout : "";
};

export function environment() {
  const handedOn = Object.entries(process.env).filter(([name]) => HANDED_ON.test(name));
  return {
    ...Object.fromEntries(handedOn),
    HOME: "/root",
    LANG: "C.UTF-8",
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  };
}

/** Where this Debian takes its packages from; undefined elsewhere: debootstrap has a default. */
export const debianMirror = () => mirrors().main;

function mirrors() {
  const system = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  const codename = /^VERSION_CODENAME=(\w+)/m.exec(system)?.[1];
  if (!/^ID=debian$/m.test(system) || codename === undefined) return {};
  // By $(SITE), as apt knows both forms of its list of sources.
  const targets = output("apt-get", [
    "indextargets",
    "--format",
    "$(RELEASE) $(COMPONENT) $(SITE)",
    "Created-By: Packages",
  ]);
  const siteOf = (release) =>
    targets
      .split("\n")
      .map((line) => line.split(" "))
      .find(([name, component]) => name === release && component === "main")?.[2];
  return { main: siteOf(codename), security: siteOf(`${codename}-security`) };
}

export function handOn(root, suite) {
  const place = (path) => {
    const target = join(root, path);
    mkdirSync(dirname(target), { recursive: true });
    return target;
  };
  const copy = (from, to = from) => {
    if (!existsSync(from)) return;
    cpSync(from, place(to), { recursive: true, dereference: true, force: true, preserveTimestamps: true });
  };
  for (const path of COPIED) copy(path);
  copy("/etc/apt/auth.conf");
  copy("/etc/apt/auth.conf.d");
  for (const path of [".config/pip/pip.conf", ".pip/pip.conf"]) copy(join(homedir(), path), `/root/${path}`);
  const npm = JSON.parse(output("npm", ["config", "ls", "--json"]) || "{}");
  copy(npm.userconfig ?? "", "/root/.npmrc");
  copy(npm.globalconfig ?? "", "/usr/local/etc/npmrc");

  // Files of authorities, under the names that the environment and npm know them by.
  const authorities = [npm.cafile, ...Object.values(environment())];
  for (const path of new Set(authorities)) {
    if (typeof path === "string" && isAbsolute(path) && /\.(pem|crt|cer)$/.test(path)) copy(path);
  }
  aptSources(place, suite);
}

function aptSources(place, suite) {
  const { main, security } = mirrors();
  if (main === undefined) return;
  const lines = [`deb ${main} ${suite} main`, `deb ${main} ${suite}-updates main`];
  if (security !== undefined) lines.push(`deb ${security} ${suite}-security main`);
  writeFileSync(place("/etc/apt/sources.list"), `${lines.join("\n")}\n`);
  const acquire = output("apt-config", ["dump"])
    .split("\n")
    .filter((line) => /^Acquire::(https?|Check-|Retries|ForceIPv)/i.test(line) && !line.endsWith(' "";'));
  writeFileSync(place("/etc/apt/apt.conf.d/90handed-on"), `${acquire.join("\n")}\n`);
}
