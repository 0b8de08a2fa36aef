# syntax=docker/dockerfile:1

FROM node:24.21.0-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages/client/package.json packages/client/
# `prepare` would build before the sources are here; no dependency needs its install script.
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY scripts/build.mjs scripts/client-package.mjs scripts/uws-binaries.mjs scripts/uWebSockets.sha256 scripts/
COPY src src
RUN npm run build

FROM node:24.21.0-trixie-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY scripts/uWebSockets.sha256 scripts/
# uWebSockets.js brings a binary for each system and version of Node, 266 MB of them: only this one's stays, if it
# is the one that is pinned. In one RUN, as a layer keeps what a later one deletes.
RUN npm ci --omit=dev --ignore-scripts --workspaces=false \
  && cd node_modules/uWebSockets.js \
  && keep="$(node -p '`uws_${process.platform}_${process.arch}_${process.versions.modules}.node`')" \
  && find . -maxdepth 1 -name 'uws_*.node' ! -name "$keep" -delete \
  && sha256sum --strict --ignore-missing --check /app/scripts/uWebSockets.sha256

FROM node:24.21.0-trixie-slim
WORKDIR /app
ENV NODE_ENV=production \
  STARLING_HOST=0.0.0.0 \
  STARLING_PORT=8000 \
  STARLING_API_HOST=0.0.0.0 \
  STARLING_API_PORT=8001
COPY LICENSE package.json ./
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
USER node
EXPOSE 8000 8001
# Alive, not ready: a node that drains or waits for Redis must not be restarted for it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.STARLING_API_PORT}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/cli.js"]
CMD ["serve"]
