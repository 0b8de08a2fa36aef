/** Numbers for people, with their unit: the same in the tables and in the plots. */

const SIGNIFICANT = 3;
const THOUSANDS = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

/** Three digits that mean something: 1.49, 14.9, 149, 1,490. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  if (size >= 100) return THOUSANDS.format(value);
  if (size === 0) return "0";
  const decimals = Math.max(0, SIGNIFICANT - 1 - Math.floor(Math.log10(size)));
  return String(Number(value.toFixed(Math.min(decimals, 6))));
}

/** In thousands and millions: what an axis or the end of a bar has room for. */
function shortNumber(value: number): string {
  const size = Math.abs(value);
  if (size >= 999_500) return `${formatNumber(value / 1e6)} M`;
  if (size >= 9_995) return `${formatNumber(value / 1e3)} k`;
  return formatNumber(value);
}

/** @param unit as in Figure */
export function formatValue(value: number, unit: string): string {
  if (!Number.isFinite(value)) return "-";
  switch (unit) {
    case "":
      return shortNumber(value);
    case "1/s":
      return `${shortNumber(value)}/s`;
    case "us":
      return formatMicroseconds(value);
    case "bytes":
      return formatBytes(value);
    case "%":
      return `${formatNumber(value)} %`;
    default:
      return `${shortNumber(value)} ${unit}`;
  }
}

function formatMicroseconds(value: number): string {
  const size = Math.abs(value);
  if (size >= 999_500) return `${formatNumber(value / 1e6)} s`;
  if (size >= 999.5) return `${formatNumber(value / 1e3)} ms`;
  return `${formatNumber(value)} µs`;
}

function formatBytes(value: number): string {
  const size = Math.abs(value);
  if (size >= 999.5e6) return `${formatNumber(value / 1e9)} GB`;
  if (size >= 999.5e3) return `${formatNumber(value / 1e6)} MB`;
  // Bytes of a connection are compared: 1,153 says more than 1.15 kB.
  if (size >= 99.95e3) return `${formatNumber(value / 1e3)} kB`;
  return `${formatNumber(value)} B`;
}
