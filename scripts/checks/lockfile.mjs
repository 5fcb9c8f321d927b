/**
 * The lockfile must serve every registry, also a company's own: it names versions and checksums, no addresses.
 *
 * @param {string} text of package-lock.json
 * @returns {string[]} one sentence a finding
 */
export function findAddresses(text) {
  /** @type {{ packages: Record<string, { resolved?: string }> }} */
  const { packages } = JSON.parse(text);
  return Object.entries(packages).flatMap(([path, { resolved }]) =>
    resolved !== undefined && /^\w+:\/\//.test(resolved) ? [`${path} is locked to an address`] : [],
  );
}
