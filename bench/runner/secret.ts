/** Whether an option of this name holds what must not be in a result or a report. */
export function isSecret(name: string): boolean {
  return /token|secret|password|passphrase|api-?key/i.test(name);
}

/** A command line that can be shown. */
export function withoutSecrets(argv: readonly string[]): string[] {
  return argv.map((argument, index) => {
    const before = argv[index - 1] ?? "";
    if (/^--[\w-]+$/.test(before) && isSecret(before)) return "...";
    return argument.replace(/^(-{0,2}[\w-]+=)(.*)$/, (whole, name: string) =>
      isSecret(name) ? `${name}...` : whole,
    );
  });
}
