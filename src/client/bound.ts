/**
 * Gives an object its class's methods and getters as its own, tied to it. Proxies, such as Vue's and Valtio's, call
 * them with the proxy as `this`, which has none of the private fields.
 */
export function bindMembers(target: object, prototype: object): void {
  for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
    if (name === "constructor") continue;
    const getter = descriptor.get?.bind(target);
    // A subclass may have its own.
    const method = () => (Reflect.get(target, name) as () => unknown).bind(target);
    const member = getter ? { get: getter } : { writable: true, value: method() };
    Object.defineProperty(target, name, { configurable: true, ...member });
  }
}
