/** Numbers as people write them, for errors that say how an option wants them. */

const MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  sec: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const BYTES: Readonly<Record<string, number>> = { b: 1, k: 1024, kb: 1024, kib: 1024, m: 1024 ** 2, mb: 1024 ** 2, mib: 1024 ** 2, g: 1024 ** 3, gb: 1024 ** 3, gib: 1024 ** 3 }; // prettier-ignore

/** `30s` in ms is 30000, `64k` in bytes 65536, `1e4` and `10_000` are 10000 of anything; undefined: no such text. */
export function inPlainNumbers(text: string, unit: string | undefined): number | undefined {
  const [, digits, exponent, name = ""] =
    /^([\d][\d_,]*(?:\.\d+)?)(e\d{1,2})?\s*([a-z]*)$/i.exec(text.trim()) ?? [];
  if (digits === undefined) return undefined;
  const number = Number(digits.replace(/[_,]/g, "") + (exponent ?? ""));
  const factors = unit === "ms" ? MS : unit?.startsWith("bytes") === true ? BYTES : {};
  const factor = name === "" ? 1 : factors[name.toLowerCase()];
  return factor === undefined || !Number.isInteger(number * factor) ? undefined : number * factor;
}
