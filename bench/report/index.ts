export { renderReport, writeReport } from "./report.js";
