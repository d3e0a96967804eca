// SPDX-License-Identifier: Apache-2.0
// Calls a file's resolution knowing nothing but the address, as Postman does: what grpc-js needs
// comes from the server's reflection. Prints one JSON object:
//     node reflect.mjs ADDRESS VERSION REPO FILENAME        VERSION: v1, v1alpha
import grpc from "@grpc/grpc-js";
import { GrpcReflection } from "grpc-js-reflection-client";

const SERVICE = "hubcache.v1.Resolver";
const [address, version, repo, filename] = process.argv.slice(2);
const credentials = grpc.credentials.createInsecure();
const reflection = new GrpcReflection(address, credentials, {}, version);
const services = await reflection.listServices();
const descriptor = await reflection.getDescriptorBySymbol(SERVICE);
const options = { keepCase: true, enums: String, longs: String };
const { Resolver } = descriptor.getPackageObject(options).hubcache.v1;
const request = { repo_id: repo, filename };

new Resolver(address, credentials).ResolveFile(request, (error, answer) => {
    console.log(JSON.stringify({ services, code: error?.code ?? 0, file: answer?.file }));
    process.exit(0);
});
