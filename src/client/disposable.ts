/**
 * What `using` ends. Read from the types of whoever compiles: TypeScript before 5.2, and later ones without the library
 * esnext.disposable, know no Symbol.dispose.
 */
export type Disposer = SymbolConstructor extends { readonly dispose: infer Key extends symbol }
  ? { readonly [Name in Key]: () => void }
  : object;

/** Adds Symbol.dispose where there is one. It is not enumerable: copies of the object do without. */
export function disposable<T extends object>(target: T, dispose: () => void): T & Disposer {
  const key = (Symbol as { dispose?: symbol }).dispose;
  if (key !== undefined) Object.defineProperty(target, key, { value: dispose });
  return target as T & Disposer;
}
