// Puts the page and hls.js side by side into dist/, where the gateway looks. Nothing is bundled: what is served is what is written here.
import { cp, mkdir, rm } from "node:fs/promises";

await rm("dist", { recursive: true, force: true });
await mkdir("dist");
await cp("src", "dist", { recursive: true });
await cp("node_modules/hls.js/dist/hls.light.min.js", "dist/hls.js");
await cp("node_modules/hls.js/LICENSE", "dist/hls-license.txt");
