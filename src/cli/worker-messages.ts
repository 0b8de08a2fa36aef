/** What `starling serve --workers` and its workers say to each other over IPC. */

/** URLs by name, in the order in which `starling serve` prints them. */
export type Urls = Readonly<Record<string, string>>;

export type FromWorker =
  /** The worker takes connections to the API's port, whether it is ready or not. */
  | { readonly kind: "api" }
  | { readonly kind: "ready"; readonly urls: Urls }
  /** Metrics of all other workers are wanted. */
  | { readonly kind: "ask"; readonly id: number }
  /** Those of this worker. */
  | { readonly kind: "metrics"; readonly id: number; readonly text: string };

export type ToWorker =
  /** Comes with a connection to the API's port. */
  | { readonly kind: "connection" }
  /** Apps and namespaces are to be read again. */
  | { readonly kind: "reload" }
  | { readonly kind: "report"; readonly id: number }
  | { readonly kind: "answer"; readonly id: number; readonly texts: readonly string[] };
