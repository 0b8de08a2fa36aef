/** Which pages browsers may connect from. */

/** @param allowed  as config/kinds.ts checks them; empty: any */
export function allowsOrigin(allowed: readonly string[]): (origin: string) => boolean {
  if (allowed.length === 0) return () => true;
  const exact = new Set<string>();
  const patterns: RegExp[] = [];
  for (const origin of allowed.map((each) => each.toLowerCase())) {
    if (origin.includes("*")) patterns.push(patternOf(origin));
    else exact.add(origin);
  }
  // Browsers send lower case (RFC 6454 6.2); others may not, and schemes and hosts have no case.
  return (origin) => {
    const sent = origin.toLowerCase();
    return exact.has(sent) || patterns.some((pattern) => pattern.test(sent));
  };
}

/** The star stands for one or more labels of a host: a.example.com and a.b.example.com, not example.com. */
function patternOf(origin: string): RegExp {
  const escaped = origin.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replace("*", "[a-z0-9_-]+(?:\\.[a-z0-9_-]+)*")}$`);
}
