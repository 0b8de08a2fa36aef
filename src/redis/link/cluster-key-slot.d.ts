/** The package has no types of its own. */
declare module "cluster-key-slot" {
  /** The slot of a key, from its hash tag if it has one. */
  function calculateSlot(key: string): number;
  export = calculateSlot;
}
