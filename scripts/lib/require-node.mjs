// Loaded before anything else, by Nodes of any age: nothing newer than 2019 in here.

const oldest = { major: 20, minor: 19 };

/** Ends the process with one clear sentence when this Node is too old. */
export function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > oldest.major || (major === oldest.major && minor >= oldest.minor)) return;
  console.error(
    `Weft needs Node ${oldest.major}.${oldest.minor} or newer, and this is Node ${process.versions.node}: install a current Node.`,
  );
  process.exit(1);
}
