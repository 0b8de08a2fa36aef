/** One scrape of several processes. */

/**
 * Joins texts in the Prometheus text format so that each metric's samples stand together, as the
 * format demands. The samples must differ by a label already.
 */
export function mergeExpositions(texts: readonly string[]): string {
  const families = new Map<string, { head: string; samples: string[] }>();
  for (const text of texts) {
    // Each metric begins with its HELP line.
    for (const block of text.split(/^(?=# HELP )/m)) {
      const [, name] = /^# HELP (\S+)/.exec(block) ?? [];
      if (name === undefined) continue;
      const [, head = "", samples = ""] = /^((?:#.*\n)+)([^]*)$/.exec(block) ?? [];
      const family = families.get(name);
      if (family === undefined) families.set(name, { head, samples: [samples.trim()] });
      else family.samples.push(samples.trim());
    }
  }
  let merged = "";
  for (const { head, samples } of families.values()) {
    const lines = samples.filter((text) => text !== "");
    merged += `${head}${lines.join("\n")}${lines.length > 0 ? "\n" : ""}\n`;
  }
  return merged;
}
