import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ROOT } from '../lib/root.mjs';

/** @import { Package } from './layers.mjs' */

/** @returns {Package[]} */
export function readPackages() {
  return ['packages', 'apps'].flatMap((layer) =>
    readdirSync(join(ROOT, layer)).flatMap((name) => {
      const folder = `${layer}/${name}`;
      if (!existsSync(join(ROOT, folder, 'package.json'))) return [];
      const { dependencies = {}, devDependencies = {}, optionalDependencies = {} } = readJson(`${folder}/package.json`);
      /** @type {{ references?: { path: string }[] }} */
      const { references = [] } = readJson(`${folder}/tsconfig.json`);
      return [
        {
          name,
          folder,
          dependencies: Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies }),
          references: references.map(({ path }) => basename(path)),
        },
      ];
    }),
  );
}

/** @param {string} path */
const readJson = (path) => JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
