// What a browser gives a page and Node.js does not: a storage that outlives it, here in the file
// that STORAGE names.
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const file = process.env.STORAGE;
const storage = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
const methods = {
  getItem: (key) => storage[key] ?? null,
  setItem: (key, value) => {
    storage[key] = String(value);
    writeFileSync(file, JSON.stringify(storage));
  },
  removeItem: (key) => {
    delete storage[key];
    writeFileSync(file, JSON.stringify(storage));
  },
};
for (const [name, value] of Object.entries(methods)) {
  // Not among the keys, as in a browser.
  Object.defineProperty(storage, name, { value, enumerable: false });
}
globalThis.localStorage = storage;
