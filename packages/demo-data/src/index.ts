export { fetchDemo } from './fetch-demo.js';
