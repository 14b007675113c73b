// Reads a JSON list of KQL queries from standard input; prints, for each, what Microsoft's language service says of it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { runInThisContext } from "node:vm";

const folder = dirname(createRequire(import.meta.url).resolve("@kusto/language-service-next/package.json"));
for (const script of ["bridge.min.js", "Kusto.Language.Bridge.min.js"]) {
  runInThisContext(readFileSync(join(folder, script), "utf8"), { filename: script });
}
const { KustoCode, GlobalState } = globalThis.Kusto.Language;

// The columns of the workspace's table that the queries use.
const TABLE = "let AppTraces = datatable(TimeGenerated: datetime, Message: string, _ResourceId: string)[];\n";

const queries = JSON.parse(readFileSync(0, "utf8"));
const answers = queries.map((query) => {
  const code = KustoCode.ParseAndAnalyze(TABLE + query, GlobalState.Default);
  const diagnostics = code.GetDiagnostics();
  const problems = [];
  for (let index = 0; index < diagnostics.Count; index += 1) {
    problems.push(diagnostics.getItem(index).Message);
  }
  const columns = code.ResultType?.Columns ?? { Count: 0 };
  const names = [];
  for (let index = 0; index < columns.Count; index += 1) {
    names.push(columns.getItem(index).Name);
  }
  return { problems, columns: names };
});
console.log(JSON.stringify(answers));
