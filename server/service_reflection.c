/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.reflection (grpc/reflection/v1/reflection.proto). The build embeds the descriptors
 * of every file (proto/descriptor_set.h). They are unpacked once and do not change, so
 * that any thread may answer. What a caller gets of a file is its descriptor as protoc
 * wrote it, and those of all files that it imports, directly or not, as gRPC's own
 * servers do: packed once, and shared by all answers. No file declares an extension.
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

/* What callers ask for, and the part of the answers that is the same for all of them. */
struct reflection_file {
    file_descriptor *descriptor; /* without the comments */
    struct hc_answer *answer;    /* file_descriptor_response: it, and what it imports */
};

struct hc_reflection_service {
    struct reflection_file *files;
    size_t count;
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

/* The first file that is `wanted`; NULL: there is none. */
static const struct reflection_file *
reflection_find(const struct hc_reflection_service *reflection,
                bool (*wanted)(const file_descriptor *, const char *), const char *name)
{
    for (size_t i = 0; i < reflection->count; i++) {
        if (wanted(reflection->files[i].descriptor, name))
            return &reflection->files[i];
    }
    return NULL;
}

/* ---- answers ----------------------------------------------------------------------- */

/* One answer while it is made; what its lists need is taken from the arena. */
struct reflection_answer {
    struct hc_arena *arena;
    reflection_response response;
    Grpc__Reflection__V1__ErrorResponse error;
    const struct reflection_file *file; /* follows the response; NULL: none does */
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

static int answer_find_file(const struct hc_reflection_service *reflection,
                            struct reflection_answer *answer,
                            bool (*wanted)(const file_descriptor *, const char *),
                            const char *name)
{
    answer->file = reflection_find(reflection, wanted, name);
    if (answer->file)
        return 0;
    return answer_with_error(answer, HC_STATUS_NOT_FOUND,
                             wanted == file_is_named ? "no such file" : "no such symbol");
}

/* Of a message without extensions the list is empty. */
static int answer_with_extensions(const struct hc_reflection_service *reflection,
                                  struct reflection_answer *answer, char *message)
{
    if (!reflection_find(reflection, file_declares_message, message))
        return answer_with_error(answer, HC_STATUS_NOT_FOUND, "no such message");
    grpc__reflection__v1__extension_number_response__init(&answer->extensions);
    answer->extensions.base_type_name = message;
    answer->response.message_response_case = RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE);
    answer->response.all_extension_numbers_response = &answer->extensions;
    return 0;
}

/* -1: out of memory, also for the others. */
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

    for (size_t i = 0; i < reflection->count; i++)
        count += reflection->files[i].descriptor->n_service;
    grpc__reflection__v1__list_service_response__init(&answer->services);
    answer->services.service =
        hc_arena_take(answer->arena, count * sizeof *answer->services.service);
    if (!answer->services.service)
        return -1;
    for (size_t i = 0; i < reflection->count; i++) {
        const file_descriptor *file = reflection->files[i].descriptor;

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
    if (answer && filled.file)
        hc_answer_set_tail(answer, filled.file->answer);
    if (answer)
        hc_rpc_call_send(call, answer);
    else
        hc_rpc_call_finish(call, NULL);
}

#define PATH(version) "/grpc.reflection." version ".ServerReflection/ServerReflectionInfo"

/* The messages of both versions look the same on the wire. */
static const struct hc_rpc_method methods[] = {
    {PATH("v1"), &grpc__reflection__v1__server_reflection_request__descriptor,
     method_server_reflection_info, HC_RPC_BIDIRECTIONAL, NULL},
    {PATH("v1alpha"), &grpc__reflection__v1__server_reflection_request__descriptor,
     method_server_reflection_info, HC_RPC_BIDIRECTIONAL, NULL},
};

/* ---- opening ----------------------------------------------------------------------- */

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

/* Adds the number of a file unless it is listed. `listed` has room for all files. */
static void file_list_add(size_t *listed, size_t *count, size_t number)
{
    for (size_t i = 0; i < *count; i++) {
        if (listed[i] == number)
            return;
    }
    listed[(*count)++] = number;
}

/*
 * Packs the file and all that it imports. Fields of a message may follow one another in
 * any sequence, so that this is the end of an answer whose beginning names the request.
 */
static struct hc_answer *file_pack(const struct hc_reflection_service *reflection,
                                   size_t number, const ProtobufCBinaryData *bytes)
{
    HC_AUTO_FREE size_t *listed = calloc(reflection->count, sizeof *listed);
    HC_AUTO_FREE ProtobufCBinaryData *files = calloc(reflection->count, sizeof *files);
    Grpc__Reflection__V1__FileDescriptorResponse list;
    reflection_response response;
    size_t count = 0;

    if (!listed || !files)
        return NULL;
    file_list_add(listed, &count, number);
    for (size_t i = 0; i < count; i++) {
        const file_descriptor *file = reflection->files[listed[i]].descriptor;

        files[i] = bytes[listed[i]];
        for (size_t n = 0; n < file->n_dependency; n++) {
            const struct reflection_file *needed =
                reflection_find(reflection, file_is_named, file->dependency[n]);

            assert(needed); /* protoc embeds all files that are imported */
            file_list_add(listed, &count, (size_t)(needed - reflection->files));
        }
    }
    grpc__reflection__v1__server_reflection_response__init(&response);
    grpc__reflection__v1__file_descriptor_response__init(&list);
    list.n_file_descriptor_proto = count;
    list.file_descriptor_proto = files;
    response.message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
    response.file_descriptor_response = &list;
    return hc_answer_new(&response.base);
}

/* False: out of memory. */
static bool reflection_open_files(struct hc_reflection_service *reflection,
                                  const ProtobufCBinaryData *bytes, size_t count)
{
    bool is_whole = true;

    reflection->files = calloc(count, sizeof *reflection->files);
    if (!reflection->files)
        return false;
    reflection->count = count;
    for (size_t i = 0; is_whole && i < count; i++) {
        reflection->files[i].descriptor = file_unpack(&bytes[i]);
        is_whole = reflection->files[i].descriptor;
    }
    for (size_t i = 0; is_whole && i < count; i++) {
        reflection->files[i].answer = file_pack(reflection, i, bytes);
        is_whole = reflection->files[i].answer;
    }
    return is_whole;
}

/* The list of files is read as a message of reflection, which looks the same. */
struct hc_reflection_service *hc_reflection_service_new(struct hc_error *err)
{
    HC_AUTO(hc_reflection_service) *reflection = calloc(1, sizeof *reflection);
    size_t size = (size_t)(hc_descriptor_set_end - hc_descriptor_set);
    Grpc__Reflection__V1__FileDescriptorResponse *set =
        grpc__reflection__v1__file_descriptor_response__unpack(NULL, size,
                                                               hc_descriptor_set);
    bool is_whole = reflection && set &&
                    reflection_open_files(reflection, set->file_descriptor_proto,
                                          set->n_file_descriptor_proto);

    grpc__reflection__v1__file_descriptor_response__free_unpacked(set, NULL);
    if (is_whole)
        return hc_take(&reflection);
    (void)hc_fail_memory(err);
    return NULL;
}

void hc_reflection_service_free(struct hc_reflection_service *reflection)
{
    if (!reflection)
        return;
    for (size_t i = 0; i < reflection->count; i++) {
        hc_answer_release(reflection->files[i].answer);
        google__protobuf__file_descriptor_proto__free_unpacked(
            reflection->files[i].descriptor, NULL);
    }
    free(reflection->files);
    free(reflection);
}

int hc_reflection_service_serve(struct hc_reflection_service *reflection,
                                struct hc_rpc *rpc, struct hc_error *err)
{
    return hc_rpc_add(rpc, methods, sizeof methods / sizeof *methods, reflection, err);
}
