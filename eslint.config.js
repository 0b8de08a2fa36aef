import { readdirSync } from "node:fs";
import importX from "eslint-plugin-import-x";
import { createNodeResolver } from "eslint-plugin-import-x";
import tseslint from "typescript-eslint";

/** Whom each part of src/ may import, besides itself. Data and calls go down this list only. */
const MAY_IMPORT = {
  encoding: [],
  core: ["encoding"],
  protocols: ["core", "encoding"],
  memory: ["core", "encoding"],
  redis: ["core", "encoding"],
  transport: ["core", "encoding"],
  http: ["core", "encoding", "protocols"],
  metrics: ["core", "encoding"],
  auth: ["core", "encoding"],
  client: ["encoding", "protocols"],
  // config.ts, log.ts, node.ts, index.ts, cli.ts and these folders make up the rest.
  config: ["core", "encoding"],
};

/** The only place that may import each of these packages. */
const SOLE_IMPORTER = {
  ioredis: "src/redis/link/**",
  "cluster-key-slot": "src/redis/link/**",
  "uWebSockets.js": "src/transport/uws*.ts",
  "prom-client": "src/metrics/**",
  jose: "src/auth/**",
  "ipaddr.js": "src/core/client-address.ts",
  pino: "src/log.ts",
  "pino-pretty": "src/log.ts",
  commander: "src/cli/**",
  react: "src/client/react.ts",
  vue: "src/client/vue.ts",
};

const entries = readdirSync("src", { withFileTypes: true }).map((entry) => entry.name);

const zones = Object.entries(MAY_IMPORT)
  .filter(([part]) => entries.includes(part))
  .map(([part, allowed]) => ({
    target: `./src/${part}`,
    from: entries
      .filter((entry) => entry !== part && !allowed.includes(entry))
      .map((entry) => `./src/${entry}`),
    // A URL is checked by what will connect with it; what an app may set for a protocol, and its defaults, are the protocol's.
    ...(part === "config" ? { except: ["./link/redis-url.ts", "./pusher/settings.ts"] } : {}),
    message: `${part}/ may import only ${["itself", ...allowed].join(", ")} (CONTRIBUTING.md, import direction)`,
  }));
// Nothing below the command line imports it, and nothing but it imports the composition root.
zones.push(
  { target: "./src/!(cli*)", from: ["./src/cli.ts", "./src/cli"], message: "the command line is on top" },
  { target: "./src/demo", from: "./src", except: ["./demo"], message: "the demo page uses the built SDK" },
);

const packagesFor = (file) =>
  Object.entries(SOLE_IMPORTER)
    .filter(([, sole]) => sole !== file)
    .map(([name, sole]) => ({ name, message: `only ${sole} imports ${name}` }));
const restricted = (file) => ["error", { paths: packagesFor(file) }];

export default tseslint.config(
  { ignores: ["dist/", "packages/*/*/", "node_modules/", "coverage/", "src/demo/**/*.js"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.recommendedTypeChecked],
    plugins: { "import-x": importX },
    languageOptions: {
      parserOptions: { project: "./tsconfig.check.json", tsconfigRootDir: import.meta.dirname },
    },
    settings: {
      "import-x/extensions": [".ts", ".js"],
      "import-x/external-module-folders": ["node_modules"],
      "import-x/parsers": { "@typescript-eslint/parser": [".ts"] },
      "import-x/resolver-next": [
        createNodeResolver({ extensionAlias: { ".js": [".ts", ".js"] }, extensions: [".ts", ".js"] }),
      ],
    },
    rules: {
      "no-empty": ["error", { allowEmptyCatch: false }],
      eqeqeq: "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", ignoreRestSiblings: true }],
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
      "@typescript-eslint/no-non-null-assertion": "off",
      "import-x/no-cycle": "error",
      "import-x/no-self-import": "error",
      "max-lines": ["warn", { max: 350, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    files: ["src/**/*.ts"],
    rules: {
      "import-x/no-restricted-paths": ["error", { basePath: import.meta.dirname, zones }],
      "no-restricted-imports": restricted(undefined),
    },
  },
  ...[...new Set(Object.values(SOLE_IMPORTER))].map((file) => ({
    files: [file],
    rules: { "no-restricted-imports": restricted(file) },
  })),
  // Data: one entry per option.
  { files: ["src/config/table.ts"], rules: { "max-lines": "off" } },
  {
    files: ["test/**/*.ts", "bench/**/*.ts"],
    // A test's suite is one list, and vitest's matchers are typed as any.
    rules: { "max-lines": "off", "@typescript-eslint/no-unsafe-assignment": "off" },
  },
  {
    files: ["**/*.{js,mjs}"],
    rules: { "no-empty": "error", "no-unused-vars": "error", eqeqeq: "error" },
  },
);
