// What the official parser says against the AsyncAPI document on standard input: a line each, none when it is valid.
import { readFileSync } from "node:fs";
import parser from "@asyncapi/parser";

const { document, diagnostics } = await new parser.Parser().parse(readFileSync(0, "utf-8"));
for (const { severity, message, path } of diagnostics) {
  if (severity < 3) console.log(`${severity} ${path.join(".")}: ${message}`);
}
if (document === undefined) console.log("no document");
