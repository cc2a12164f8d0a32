// Starts Swagger UI. A file of its own, because the policy of the page allows no inline script.

// Where an operation stands within its tag: create, list, get, change, delete; after them, in the
// same order, what is deprecated. Of one place shorter paths come first, then those that the
// document has first.
function place(entry) {
  const method = entry.get("method");
  const parts = entry.get("path").split("/").filter(Boolean);
  const ofOne = parts.some((part) => part.startsWith("{"));
  const ranks = { post: ofOne ? 3 : 0, get: ofOne ? 2 : 1, delete: 4 };
  const later = entry.getIn(["operation", "deprecated"]) ? 10 : 0;
  return 100 * ((ranks[method] ?? 3) + later) + parts.length;
}

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  defaultModelsExpandDepth: 0,
  operationsSorter: (one, other) => place(one) - place(other),
  // Without this the page would ask validator.swagger.io about the document.
  validatorUrl: null,
});
