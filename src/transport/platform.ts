/** Where uWebSockets.js runs and how well: it comes with a binary for each system and version of Node. */

export interface Platform {
  readonly node: string;
  /** process.versions.modules, which names the binary: 115 for Node 20, 127 for 22, 137 for 24. */
  readonly abi: number;
  readonly system: string;
  readonly arch: string;
  /** undefined: none, as on musl. */
  readonly glibc: string | undefined;
}

export function thisPlatform(): Platform {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return {
    node: process.versions.node,
    abi: Number(process.versions.modules),
    system: process.platform,
    arch: process.arch,
    glibc: report.header?.glibcVersionRuntime,
  };
}

/** Binaries from here on are built for today's glibc; those before are years older. */
const FIRST_CURRENT_ABI = 127;
const CURRENT_GLIBC = [2, 38] as const;

export const REQUIREMENTS =
  "on Linux it runs on Node 20 with glibc 2.27 or later, on Node 22 and 24 with glibc 2.38 or later";

export function describePlatform({ node, system, arch, glibc }: Platform): string {
  const library = glibc === undefined ? "no glibc (musl?)" : `glibc ${glibc}`;
  return [`Node ${node}`, `${system} ${arch}`, ...(system === "linux" ? [library] : [])].join(", ");
}

/** What is wrong with the binary that loads here, and what to do; undefined: nothing is known. */
export function oldBinary(platform: Platform): string | undefined {
  const { abi, system, glibc } = platform;
  if (abi >= FIRST_CURRENT_ABI && (system !== "linux" || glibc === undefined || isCurrent(glibc)))
    return undefined;
  return (
    "the binary of uWebSockets.js for this platform is years old and gets no fixes: a request whose first " +
    "line comes in two TCP segments, as one with a long token in its URL may, is refused with 505. " +
    "Run Node 24 with glibc 2.38 or later (Debian 13, Ubuntu 24.04), as the Dockerfile does; " +
    `found: ${describePlatform(platform)}`
  );
}

function isCurrent(glibc: string): boolean {
  const [major = 0, minor = 0] = glibc.split(".").map(Number);
  return major > CURRENT_GLIBC[0] || (major === CURRENT_GLIBC[0] && minor >= CURRENT_GLIBC[1]);
}
