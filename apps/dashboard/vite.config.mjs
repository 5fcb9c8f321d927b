import { defineConfig } from 'vite';

export default defineConfig({
  build: {
    outDir: 'dist/page',
    // The strict policy of the coordinator allows files of its own alone.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 400,
  },
});
