// A typed client of all three services: makes an account, signs in, posts, lists, and finds the post in the log.
import createClient from "openapi-fetch";
import type { paths as Auth } from "./auth.js";
import type { paths as Logs } from "./logs.js";
import type { paths as Messages } from "./messages.js";

declare const process: { env: Record<string, string | undefined> };

const baseUrl = process.env["URL"] ?? "http://127.0.0.1:8080";
const credentials = { username: process.env["NAME"] ?? "mina", password: "correct horse battery" };

const auth = createClient<Auth>({ baseUrl });
const made = await auth.POST("/api/register", { body: credentials });
if (made.error) throw new Error(made.error.detail);
const signedIn = await auth.POST("/api/login", { body: credentials });
if (signedIn.error) throw new Error(signedIn.error.detail);

const headers = { Authorization: `Bearer ${signedIn.data.access_token}` };
const messages = createClient<Messages>({ baseUrl, headers });
const logs = createClient<Logs>({ baseUrl, headers });

const posted = await messages.POST("/api/messages", {
  body: { message: "안녕하세요 from TypeScript" },
  params: { header: { "Idempotency-Key": crypto.randomUUID() } },
});
if (posted.error) throw new Error(posted.error.detail);

const listed = await messages.GET("/api/messages", { params: { query: { limit: 5 } } });
if (listed.error) throw new Error(listed.error.detail);

const refused = await messages.POST("/api/messages", { body: { message: " " } });
const pointer: string | undefined = refused.error?.errors?.[0]?.pointer;

const query = { trace_id: posted.data.trace_id ?? "", type: "message.created" };
let types: string[] = [];
for (const end = Date.now() + 20_000; types.length === 0 && Date.now() < end; ) {
  const log = await logs.GET("/api/logs", { params: { query } });
  if (log.error) throw new Error(log.error.detail);
  types = log.data.items.map((entry) => entry.type);
}

console.log(JSON.stringify({ author: posted.data.author, listed: listed.data.items[0]?.message, pointer, types }));
