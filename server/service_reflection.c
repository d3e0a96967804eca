/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.reflection (grpc/reflection/v1/reflection.proto). The build embeds the descriptors
 * of every file (proto/descriptor_set.h). They are unpacked once and do not change, so
 * that any thread may answer. What a caller gets of a file is its descriptor as protoc
 * wrote it, and those of all files that it imports, directly or not, as gRPC's own
 * servers do. No file declares an extension.
 *
 * A caller's stream holds one request, of at most REQUEST_BYTES_MAX, and its answer at a
 * time: the edge reads the next request when the answer has gone out. A request that has
 * no answer gets an error_response with the codes of gRPC's own servers, and the stream
 * goes on.
 */
#include "service_reflection.h"

#include "message.h"

#include <base/error.h>
#include <base/text.h>

#include <assert.h>
#include <descriptor_set.h>
#include <google/protobuf/descriptor.pb-c.h>
#include <grpc/reflection/v1/reflection.pb-c.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_BYTES_MAX = 4096 };

typedef Google__Protobuf__DescriptorProto message_descriptor;
typedef Google__Protobuf__EnumDescriptorProto enum_descriptor;
typedef Google__Protobuf__FileDescriptorProto file_descriptor;
typedef Google__Protobuf__ServiceDescriptorProto service_descriptor;
typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

#define REQUEST(name)                                                                    \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE(name)                                                                   \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

struct hc_reflection_service {
    /* The bytes of each file: this message looks on the wire like a FileDescriptorSet. */
    Grpc__Reflection__V1__FileDescriptorResponse *set;
    file_descriptor **files; /* as many, in the same sequence, without their comments */
};

/* ---- finding files ----------------------------------------------------------------- */

/* What follows `scope` and a dot in `name`; "": nothing; NULL: `name` is not in it. */
static const char *name_after(const char *name, const char *scope)
{
    size_t length = strlen(scope);

    if (strncmp(name, scope, length) != 0)
        return NULL;
    if (name[length] == '\0')
        return name + length;
    return name[length] == '.' && name[length + 1] != '\0' ? name + length + 1 : NULL;
}

static bool enum_declares(const enum_descriptor *type, const char *name)
{
    bool is_declared = strcmp(type->name, name) == 0;

    /* A value belongs to the scope of its enum, as in C. */
    for (size_t i = 0; !is_declared && i < type->n_value; i++)
        is_declared = strcmp(type->value[i]->name, name) == 0;
    return is_declared;
}

static bool message_declares(const message_descriptor *message, const char *name)
{
    bool is_declared = *name == '\0';

    for (size_t i = 0; !is_declared && i < message->n_field; i++)
        is_declared = strcmp(message->field[i]->name, name) == 0;
    for (size_t i = 0; !is_declared && i < message->n_oneof_decl; i++)
        is_declared = strcmp(message->oneof_decl[i]->name, name) == 0;
    for (size_t i = 0; !is_declared && i < message->n_enum_type; i++)
        is_declared = enum_declares(message->enum_type[i], name);
    return is_declared;
}

static bool service_declares(const service_descriptor *service, const char *name)
{
    const char *method = name_after(name, service->name);
    bool is_declared = method && *method == '\0';

    for (size_t i = 0; method && !is_declared && i < service->n_method; i++)
        is_declared = strcmp(service->method[i]->name, method) == 0;
    return is_declared;
}

/* The innermost message that `*name` names or begins with; `*name` becomes the rest. */
static const message_descriptor *file_find_message(const file_descriptor *file,
                                                   const char **name)
{
    const message_descriptor *found = NULL;
    message_descriptor *const *list = file->message_type;
    size_t left = file->n_message_type;

    while (left > 0) {
        const char *rest = name_after(*name, (*list)->name);

        left--;
        if (!rest) {
            list++;
            continue;
        }
        found = *list;
        *name = rest;
        list = found->nested_type;
        left = *rest ? found->n_nested_type : 0;
    }
    return found;
}

static bool file_declares(const file_descriptor *file, const char *symbol)
{
    const char *name = name_after(symbol, file->package);
    const char *rest = name;
    const message_descriptor *message = name ? file_find_message(file, &rest) : NULL;
    bool is_declared = message && message_declares(message, rest);

    if (!name)
        return false;
    for (size_t i = 0; !is_declared && i < file->n_enum_type; i++)
        is_declared = enum_declares(file->enum_type[i], name);
    for (size_t i = 0; !is_declared && i < file->n_service; i++)
        is_declared = service_declares(file->service[i], name);
    return is_declared;
}

static bool file_declares_message(const file_descriptor *file, const char *symbol)
{
    const char *name = name_after(symbol, file->package);

    return name && file_find_message(file, &name) && *name == '\0';
}

static bool file_is_named(const file_descriptor *file, const char *name)
{
    return strcmp(file->name, name) == 0;
}

/* The number of the first file that is `wanted`; that of all files: there is none. */
static size_t reflection_find(const struct hc_reflection_service *reflection,
                              bool (*wanted)(const file_descriptor *, const char *),
                              const char *name)
{
    size_t i = 0;

    while (i < reflection->set->n_file_descriptor_proto &&
           !wanted(reflection->files[i], name))
        i++;
    return i;
}

/* ---- answers ----------------------------------------------------------------------- */

/* One answer while it is made; what its lists need is taken from the arena. */
struct reflection_answer {
    struct hc_arena *arena;
    reflection_response response;
    Grpc__Reflection__V1__ErrorResponse error;
    Grpc__Reflection__V1__FileDescriptorResponse files;
    Grpc__Reflection__V1__ListServiceResponse services;
    Grpc__Reflection__V1__ExtensionNumberResponse extensions;
};

static int answer_with_error(struct reflection_answer *answer, unsigned code,
                             const char *message)
{
    grpc__reflection__v1__error_response__init(&answer->error);
    answer->error.error_code = (int32_t)code;
    answer->error.error_message = hc_unconst(message);
    answer->response.message_response_case = RESPONSE(ERROR_RESPONSE);
    answer->response.error_response = &answer->error;
    return 0;
}

/* Adds a file unless it is listed. `listed` has room for all files. */
static void file_list_add(size_t *listed, size_t *count, size_t file)
{
    for (size_t i = 0; i < *count; i++) {
        if (listed[i] == file)
            return;
    }
    listed[(*count)++] = file;
}

/* The file and what it imports. -1: out of memory, also for the others. */
static int answer_with_file(const struct hc_reflection_service *reflection,
                            struct reflection_answer *answer, size_t file)
{
    size_t all = reflection->set->n_file_descriptor_proto;
    size_t *listed = hc_arena_take(answer->arena, all * sizeof *listed);
    ProtobufCBinaryData *bytes = hc_arena_take(answer->arena, all * sizeof *bytes);
    size_t count = 0;

    if (!listed || !bytes)
        return -1;
    file_list_add(listed, &count, file);
    for (size_t i = 0; i < count; i++) {
        const file_descriptor *each = reflection->files[listed[i]];

        bytes[i] = reflection->set->file_descriptor_proto[listed[i]];
        for (size_t n = 0; n < each->n_dependency; n++)
            file_list_add(listed, &count,
                          reflection_find(reflection, file_is_named,
                                          each->dependency[n]));
    }
    grpc__reflection__v1__file_descriptor_response__init(&answer->files);
    answer->files.n_file_descriptor_proto = count;
    answer->files.file_descriptor_proto = bytes;
    answer->response.message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
    answer->response.file_descriptor_response = &answer->files;
    return 0;
}

static int answer_find_file(const struct hc_reflection_service *reflection,
                            struct reflection_answer *answer,
                            bool (*wanted)(const file_descriptor *, const char *),
                            const char *name)
{
    size_t file = reflection_find(reflection, wanted, name);

    if (file < reflection->set->n_file_descriptor_proto)
        return answer_with_file(reflection, answer, file);
    return answer_with_error(answer, HC_STATUS_NOT_FOUND,
                             wanted == file_is_named ? "no such file" : "no such symbol");
}

/* Of a message without extensions the list is empty. */
static int answer_with_extensions(const struct hc_reflection_service *reflection,
                                  struct reflection_answer *answer, char *message)
{
    size_t file = reflection_find(reflection, file_declares_message, message);

    if (file == reflection->set->n_file_descriptor_proto)
        return answer_with_error(answer, HC_STATUS_NOT_FOUND, "no such message");
    grpc__reflection__v1__extension_number_response__init(&answer->extensions);
    answer->extensions.base_type_name = message;
    answer->response.message_response_case = RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE);
    answer->response.all_extension_numbers_response = &answer->extensions;
    return 0;
}

static int service_list_add(struct reflection_answer *answer, const char *package,
                            const char *name)
{
    Grpc__Reflection__V1__ListServiceResponse *list = &answer->services;
    size_t size = strlen(package) + 1 + strlen(name) + 1;
    Grpc__Reflection__V1__ServiceResponse *added =
        hc_arena_take(answer->arena, sizeof *added);

    if (!added)
        return -1;
    grpc__reflection__v1__service_response__init(added);
    added->name = hc_arena_take(answer->arena, size);
    if (!added->name)
        return -1;
    (void)hc_format(added->name, size, "%s.%s", package, name);
    list->service[list->n_service++] = added;
    return 0;
}

static int answer_with_services(const struct hc_reflection_service *reflection,
                                struct reflection_answer *answer)
{
    size_t count = 0;

    for (size_t i = 0; i < reflection->set->n_file_descriptor_proto; i++)
        count += reflection->files[i]->n_service;
    grpc__reflection__v1__list_service_response__init(&answer->services);
    answer->services.service =
        hc_arena_take(answer->arena, count * sizeof *answer->services.service);
    if (!answer->services.service)
        return -1;
    for (size_t i = 0; i < reflection->set->n_file_descriptor_proto; i++) {
        const file_descriptor *file = reflection->files[i];

        for (size_t n = 0; n < file->n_service; n++) {
            if (service_list_add(answer, file->package, file->service[n]->name) < 0)
                return -1;
        }
    }
    answer->response.message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
    answer->response.list_services_response = &answer->services;
    return 0;
}

static int answer_fill(const struct hc_reflection_service *reflection,
                       const reflection_request *request,
                       struct reflection_answer *answer)
{
    switch (request->message_request_case) {
    case REQUEST(FILE_BY_FILENAME):
        return answer_find_file(reflection, answer, file_is_named,
                                request->file_by_filename);
    case REQUEST(FILE_CONTAINING_SYMBOL):
        return answer_find_file(reflection, answer, file_declares,
                                request->file_containing_symbol);
    case REQUEST(FILE_CONTAINING_EXTENSION):
        return answer_with_error(answer, HC_STATUS_NOT_FOUND, "no such extension");
    case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
        return answer_with_extensions(reflection, answer,
                                      request->all_extension_numbers_of_type);
    case REQUEST(LIST_SERVICES):
        return answer_with_services(reflection, answer);
    default:
        return answer_with_error(answer, HC_CODE_UNIMPLEMENTED,
                                 "hubcached knows no such request");
    }
}

/* ---- the service ------------------------------------------------------------------- */

/* A request that is too long to be one is not sent back. */
static void method_server_reflection_info(void *ctx, struct hc_rpc_call *call,
                                          const ProtobufCMessage *message)
{
    const reflection_request *request = (const void *)message;
    struct reflection_answer filled = {.arena = hc_rpc_call_request(call)->arena};
    HC_AUTO(hc_answer) *answer = NULL;
    int result;

    grpc__reflection__v1__server_reflection_response__init(&filled.response);
    if (protobuf_c_message_get_packed_size(message) > REQUEST_BYTES_MAX) {
        result = answer_with_error(&filled, HC_STATUS_INVALID_ARGUMENT,
                                   "the request is longer than any name");
    } else {
        /* protobuf-c only reads the message, but its struct has no const. */
        // NOLINTNEXTLINE(bugprone-sizeof-expression): the pointer is copied
        memcpy(&filled.response.original_request, &message, sizeof message);
        filled.response.valid_host = request->host;
        result = answer_fill(ctx, request, &filled);
    }
    if (result == 0)
        answer = hc_answer_new(&filled.response.base);
    if (answer)
        hc_rpc_call_send(call, answer);
    else
        hc_rpc_call_finish(call, NULL);
}

#define PATH(version) "/grpc.reflection." version ".ServerReflection/ServerReflectionInfo"

/* The messages of both versions look the same on the wire. */
static const struct hc_rpc_method methods[] = {
    {PATH("v1"), &grpc__reflection__v1__server_reflection_request__descriptor,
     method_server_reflection_info, HC_RPC_BIDIRECTIONAL},
    {PATH("v1alpha"), &grpc__reflection__v1__server_reflection_request__descriptor,
     method_server_reflection_info, HC_RPC_BIDIRECTIONAL},
};

/* The comments are for the callers only, who get them as bytes. */
static file_descriptor *file_unpack(const ProtobufCBinaryData *bytes)
{
    file_descriptor *file =
        google__protobuf__file_descriptor_proto__unpack(NULL, bytes->len, bytes->data);

    if (file && file->source_code_info)
        google__protobuf__source_code_info__free_unpacked(hc_take(
                                                              &file->source_code_info),
                                                          NULL);
    return file;
}

struct hc_reflection_service *hc_reflection_service_new(struct hc_error *err)
{
    HC_AUTO(hc_reflection_service) *reflection = calloc(1, sizeof *reflection);
    size_t size = (size_t)(hc_descriptor_set_end - hc_descriptor_set);
    bool is_whole;

    if (reflection)
        reflection->set =
            grpc__reflection__v1__file_descriptor_response__unpack(NULL, size,
                                                                   hc_descriptor_set);
    is_whole = reflection && reflection->set;
    if (is_whole)
        reflection->files =
            calloc(reflection->set->n_file_descriptor_proto, sizeof *reflection->files);
    is_whole = is_whole && reflection->files;
    for (size_t i = 0; is_whole && i < reflection->set->n_file_descriptor_proto; i++) {
        reflection->files[i] = file_unpack(&reflection->set->file_descriptor_proto[i]);
        is_whole = reflection->files[i];
    }
    if (is_whole)
        return hc_take(&reflection);
    (void)hc_fail_memory(err);
    return NULL;
}

void hc_reflection_service_free(struct hc_reflection_service *reflection)
{
    if (!reflection)
        return;
    for (size_t i = 0; reflection->files && i < reflection->set->n_file_descriptor_proto;
         i++)
        google__protobuf__file_descriptor_proto__free_unpacked(reflection->files[i],
                                                               NULL);
    free(reflection->files);
    grpc__reflection__v1__file_descriptor_response__free_unpacked(reflection->set, NULL);
    free(reflection);
}

int hc_reflection_service_serve(struct hc_reflection_service *reflection,
                                struct hc_rpc *rpc, struct hc_error *err)
{
    return hc_rpc_add(rpc, methods, sizeof methods / sizeof *methods, reflection, err);
}
