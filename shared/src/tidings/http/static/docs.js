// One page over several OpenAPI documents: the query names the one that is shown; a token given once serves them all.
const documents = JSON.parse(document.getElementById("documents").textContent);
const wanted = new URLSearchParams(location.search).get("service");
const shown = documents.find((entry) => entry.name === wanted) ?? documents[0];
const nav = document.querySelector("nav");
for (const entry of documents) {
  const link = document.createElement("a");
  link.href = `?service=${encodeURIComponent(entry.name)}`;
  link.textContent = entry.name;
  if (entry === shown) link.setAttribute("aria-current", "page");
  nav.append(link);
}
SwaggerUIBundle({
  url: shown.url,
  dom_id: "#document",
  deepLinking: true,
  persistAuthorization: false, // a token in localStorage is every script's
  displayRequestDuration: true,
  tryItOutEnabled: true,
  presets: [SwaggerUIBundle.presets.apis],
});
