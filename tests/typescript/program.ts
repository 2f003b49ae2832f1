// What a user of the generated types writes. It has to compile under `strict`; the tests do not run it.
import createClient from "openapi-fetch";

import type { components, paths } from "./kubegale";

type Schemas = components["schemas"];
type Code = 1001 | 1002 | 1003 | 1004 | 1005 | 1006 | 1007 | 1008 | 1009 | 1010 | 2001 | 2002 | 5001;
type Equal<A, B> = [A, B] extends [B, A] ? true : false;

// The codes of a failure are those that are documented: no more, no less, and never just `number`.
export const codes: Equal<Schemas["Failure"]["code"], Code> = true;

export function podsOf(r: Schemas["PodPageAnswer"] | Schemas["Failure"]): Schemas["Pod"][] {
  if (r.code === 0) return r.data.items;
  throw new Error(`${r.code}: ${r.msg}`);
}

const client = createClient<paths>({ baseUrl: "http://127.0.0.1:8000" });

export async function podNames(): Promise<string[]> {
  const { data } = await client.GET("/api/v1/kubernetes/pods", {
    params: { query: { cluster_id: 1, labelSelector: "app=web" } },
  });
  if (data && data.code === 0) return data.data.items.map((pod) => pod.metadata.name ?? "");
  return [];
}

// Each code is told apart, and after the last there is none left.
export async function explain(): Promise<string> {
  const { data, error } = await client.GET("/api/v1/kubernetes/deployments/{name}", {
    params: { path: { name: "web" }, query: { cluster_id: 1, namespace: "default" } },
  });
  const answer = data ?? error;
  switch (answer.code) {
    case 0:
      return answer.data.metadata.name ?? "";
    case 1010:
      return String(answer.data["confirm_token"]);
    case 1001: case 1002: case 1003: case 1004: case 1005: case 1006:
    case 1007: case 1008: case 1009: case 2001: case 2002: case 5001:
      return answer.msg;
    default: {
      const none: never = answer;
      return none;
    }
  }
}

export async function change(): Promise<void> {
  const item = { path: { name: "web" }, query: { cluster_id: 1, namespace: "default" } };
  await client.PATCH("/api/v1/kubernetes/deployments/{name}", {
    params: item,
    body: { spec: { replicas: 3 } },
    headers: { "Content-Type": "application/merge-patch+json" },
  });
  await client.POST("/api/v1/kubernetes/deployments/{name}/scale", {
    params: { path: { name: "web" } },
    body: { cluster_id: 1, namespace: "default", replicas: 3 },
  });
  await client.DELETE("/api/v1/kubernetes/deployments/{name}", {
    params: { path: item.path, query: { ...item.query, confirm: true } },
  });
  // @ts-expect-error: a Deployment cannot be triggered.
  await client.POST("/api/v1/kubernetes/deployments/{name}/trigger", {});
}
