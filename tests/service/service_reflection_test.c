/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a client that has no .proto file finds every service, message, field, enum
 * and enum value of hubcached by server reflection, v1 and v1alpha, with comments and
 * with all files that it needs. What does not exist is an answer, not the end of the
 * stream. A stream ends when its caller ends it or leaves, and when the server stops.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <google/protobuf/descriptor.pb-c.h>
#include <grpc/reflection/v1/reflection.pb-c.h>
#include <hubcache/error.h>
#include <string.h>

#define V1 "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define V1ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
#define REQUEST(name)                                                                    \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE(name)                                                                   \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

enum {
    UNIMPLEMENTED = 12,
    LONGEST_NAME = 4096 - 9,
    STREAMS = 300,
    UNREAD = 800,
    GROWTH_KB = 30
};

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;
typedef Google__Protobuf__FileDescriptorProto file_descriptor;

/* A request for a file, by its name or by that of a symbol, or for all services. */
static reflection_request request_for(int kind, const char *name)
{
    static char host[] = "here";
    reflection_request request;

    grpc__reflection__v1__server_reflection_request__init(&request);
    request.host = host;
    request.message_request_case =
        (Grpc__Reflection__V1__ServerReflectionRequest__MessageRequestCase)kind;
    /* The texts are members of one union. */
    memcpy(&request.file_by_filename, &name, sizeof name);
    return request;
}

static struct rpc_call *stream_start(struct world *world, const char *path, int kind,
                                     const char *name)
{
    reflection_request request = request_for(kind, name);

    return rpc_call_start(world->client, &(struct rpc_request){.path = path,
                                                               .message = &request.base,
                                                               .has_more = true});
}

static void stream_send(struct rpc_call *call, int kind, const char *name)
{
    reflection_request request = request_for(kind, name);

    rpc_call_send(call, &request.base);
}

static void stream_end(struct rpc_call *call)
{
    rpc_call_send_end(call);
    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    rpc_call_free(call);
}

/* The caller frees it. */
static reflection_response *stream_response(struct rpc_call *call, size_t number)
{
    assert_int_equal(rpc_call_await_messages(call, number + 1), number + 1);
    return (reflection_response *)rpc_call_message(
        call, number, &grpc__reflection__v1__server_reflection_response__descriptor);
}

static void response_free(reflection_response *response)
{
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
}

/* Asks in the call that is open, whose last answer was number - 1. */
static reflection_response *stream_ask(struct rpc_call *call, size_t number, int kind,
                                       const char *name)
{
    stream_send(call, kind, name);
    return stream_response(call, number);
}

static file_descriptor *response_file(const reflection_response *response, size_t number)
{
    const Grpc__Reflection__V1__FileDescriptorResponse *files =
        response->file_descriptor_response;
    file_descriptor *file;

    assert_int_equal(response->message_response_case, RESPONSE(FILE_DESCRIPTOR_RESPONSE));
    assert_true(number < files->n_file_descriptor_proto);
    file = google__protobuf__file_descriptor_proto__unpack(
        NULL, files->file_descriptor_proto[number].len,
        files->file_descriptor_proto[number].data);
    assert_non_null(file);
    return file;
}

static void assert_file(const reflection_response *response, const char *name)
{
    file_descriptor *file = response_file(response, 0);

    assert_string_equal(file->name, name);
    assert_non_null(file->source_code_info); /* the comments */
    google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
}

static bool response_has_file(const reflection_response *response, const char *name)
{
    bool has = false;

    for (size_t i = 0; i < response->file_descriptor_response->n_file_descriptor_proto;
         i++) {
        file_descriptor *file = response_file(response, i);

        has = has || strcmp(file->name, name) == 0;
        google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
    }
    return has;
}

static void assert_error(const reflection_response *response, int code)
{
    assert_int_equal(response->message_response_case, RESPONSE(ERROR_RESPONSE));
    assert_int_equal(response->error_response->error_code, code);
    assert_true(*response->error_response->error_message != '\0');
}

static void both_versions_list_the_same_services(void **state)
{
    static const char *const expected[] = {
        "hubcache.v1.Resolver",
        "hubcache.v1.Cache",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    };
    static const char *const paths[] = {V1, V1ALPHA};

    for (size_t version = 0; version < 2; version++) {
        struct rpc_call *call =
            stream_start(*state, paths[version], REQUEST(LIST_SERVICES), "*");
        reflection_response *response = stream_response(call, 0);
        const Grpc__Reflection__V1__ListServiceResponse *list =
            response->list_services_response;

        assert_int_equal(response->message_response_case,
                         RESPONSE(LIST_SERVICES_RESPONSE));
        assert_string_equal(response->valid_host, "here");
        assert_int_equal(response->original_request->message_request_case,
                         REQUEST(LIST_SERVICES));
        assert_int_equal(list->n_service, sizeof expected / sizeof *expected);
        for (size_t i = 0; i < list->n_service; i++) {
            bool is_listed = false;

            for (size_t n = 0; n < list->n_service; n++)
                is_listed = is_listed || strcmp(list->service[n]->name, expected[i]) == 0;
            assert_true(is_listed);
        }
        response_free(response);
        stream_end(call);
    }
}

static void every_kind_of_symbol_leads_to_its_file(void **state)
{
    static const char contract[] = "hubcache/v1/resolver.proto";
    static const char details[] = "google/rpc/error_details.proto";
    static const struct {
        const char *symbol, *file;
    } symbols[] = {
        {"hubcache.v1.Resolver", contract},
        {"hubcache.v1.Resolver.ResolveFile", contract},
        {"hubcache.v1.ResolveFileRequest", contract},
        {"hubcache.v1.ResolveFileRequest.filename", contract},
        {"hubcache.v1.WatchSnapshotResponse.event", contract},
        {"hubcache.v1.WatchSnapshotResponse.result", contract},
        {"hubcache.v1.Source", contract},
        {"hubcache.v1.SOURCE_HUB", contract},
        {"google.rpc.Status", "google/rpc/status.proto"},
        {"google.rpc.BadRequest.FieldViolation", details},
        {"google.rpc.BadRequest.FieldViolation.field", details},
        {"google.rpc.ErrorInfo.MetadataEntry", details},
        {"grpc.health.v1.Health.Watch", "grpc/health/v1/health.proto"},
        {"grpc.health.v1.HealthCheckResponse.ServingStatus",
         "grpc/health/v1/health.proto"},
        {"grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"},
        {"grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto"},
        {"grpc.reflection.v1alpha.ServerReflection",
         "grpc/reflection/v1alpha/reflection.proto"},
        {"google.protobuf.Any", "google/protobuf/any.proto"},
        {"google.protobuf.FieldDescriptorProto.TYPE_INT32",
         "google/protobuf/descriptor.proto"},
    };
    struct rpc_call *call = stream_start(*state, V1, REQUEST(LIST_SERVICES), "");

    (void)rpc_call_await_messages(call, 1);
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        reflection_response *response =
            stream_ask(call, i + 1, REQUEST(FILE_CONTAINING_SYMBOL), symbols[i].symbol);

        assert_file(response, symbols[i].file);
        response_free(response);
    }
    stream_end(call);
}

static void a_name_that_is_no_symbol_is_not_found_and_the_stream_goes_on(void **state)
{
    static const char *const names[] = {
        "",
        ".",
        "hubcache",
        "hubcache.v1",
        "hubcache.v1.",
        "hubcache.v1.Resolve",
        "hubcache.v1.Resolver.",
        "hubcache.v1.Resolver.Resolve",
        "hubcache.v1.Resolver.ResolveFile.x",
        "hubcache.v1.ResolveFileRequest.filename.x",
        "hubcache.v1.Source.SOURCE_HUB", /* values belong to the scope of their enum */
        "ResolveFileRequest",
        ".hubcache.v1.Resolver",
    };
    struct rpc_call *call =
        stream_start(*state, V1, REQUEST(FILE_BY_FILENAME), "hubcache/v1/none.proto");
    reflection_response *response = stream_response(call, 0);
    size_t count = sizeof names / sizeof *names;

    assert_error(response, HC_STATUS_NOT_FOUND);
    response_free(response);
    for (size_t i = 0; i < count; i++) {
        response = stream_ask(call, i + 1, REQUEST(FILE_CONTAINING_SYMBOL), names[i]);
        assert_error(response, HC_STATUS_NOT_FOUND);
        assert_string_equal(response->original_request->file_containing_symbol, names[i]);
        response_free(response);
    }
    response = stream_ask(call, count + 1, REQUEST(FILE_CONTAINING_SYMBOL),
                          "hubcache.v1.Resolver");
    assert_file(response, "hubcache/v1/resolver.proto");
    response_free(response);
    stream_end(call);
}

static void a_file_comes_with_all_that_it_imports(void **state)
{
    struct rpc_call *call =
        stream_start(*state, V1, REQUEST(FILE_BY_FILENAME), "hubcache/v1/resolver.proto");
    reflection_response *contract = stream_response(call, 0);
    reflection_response *status =
        stream_ask(call, 1, REQUEST(FILE_BY_FILENAME), "google/rpc/status.proto");
    reflection_response *any =
        stream_ask(call, 2, REQUEST(FILE_BY_FILENAME), "google/protobuf/any.proto");

    assert_file(contract, "hubcache/v1/resolver.proto");
    assert_true(response_has_file(contract, "google/protobuf/duration.proto"));
    assert_file(status, "google/rpc/status.proto");
    assert_true(response_has_file(status, "google/protobuf/any.proto"));
    assert_file(any, "google/protobuf/any.proto");
    assert_int_equal(any->file_descriptor_response->n_file_descriptor_proto, 1);

    response_free(contract);
    response_free(status);
    response_free(any);
    stream_end(call);
}

/* reflection.proto: "best-effort"; gRPC's own servers answer so. */
static void messages_have_no_extensions(void **state)
{
    Grpc__Reflection__V1__ExtensionRequest extension;
    struct rpc_call *call =
        stream_start(*state, V1, REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE),
                     "google.protobuf.FieldOptions");
    reflection_request one = request_for(REQUEST(FILE_CONTAINING_EXTENSION), NULL);
    reflection_response *known = stream_response(call, 0);
    reflection_response *unknown =
        stream_ask(call, 1, REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE),
                   "hubcache.v1.Resolver");
    reflection_response *none;

    grpc__reflection__v1__extension_request__init(&extension);
    extension.containing_type = (char[]){"google.protobuf.FieldOptions"};
    one.file_containing_extension = &extension;
    rpc_call_send(call, &one.base);
    none = stream_response(call, 2);

    assert_int_equal(known->message_response_case,
                     RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE));
    assert_string_equal(known->all_extension_numbers_response->base_type_name,
                        "google.protobuf.FieldOptions");
    assert_int_equal(known->all_extension_numbers_response->n_extension_number, 0);
    assert_error(unknown, HC_STATUS_NOT_FOUND); /* a service is no message */
    assert_error(none, HC_STATUS_NOT_FOUND);

    response_free(known);
    response_free(unknown);
    response_free(none);
    stream_end(call);
}

/* Whether a message declares an extension, or one of the messages inside it does. */
static bool message_has_extension(/* NOLINT(misc-no-recursion) */
                                  const Google__Protobuf__DescriptorProto *message)
{
    bool has = message->n_extension > 0;

    for (size_t i = 0; i < message->n_nested_type; i++)
        has = has || message_has_extension(message->nested_type[i]);
    return has;
}

/* What the server relies on. */
static void no_file_declares_an_extension(void **state)
{
    static const char *const files[] = {
        "hubcache/v1/resolver.proto",          "google/rpc/status.proto",
        "google/rpc/error_details.proto",      "grpc/health/v1/health.proto",
        "grpc/reflection/v1/reflection.proto", "grpc/reflection/v1alpha/reflection.proto",
        "google/protobuf/descriptor.proto",
    };
    struct rpc_call *call = stream_start(*state, V1, REQUEST(LIST_SERVICES), "");

    (void)rpc_call_await_messages(call, 1);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        reflection_response *response =
            stream_ask(call, i + 1, REQUEST(FILE_BY_FILENAME), files[i]);
        file_descriptor *file = response_file(response, 0);

        assert_int_equal(file->n_extension, 0);
        for (size_t n = 0; n < file->n_message_type; n++)
            assert_false(message_has_extension(file->message_type[n]));
        google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
        response_free(response);
    }
    stream_end(call);
}

static void a_request_that_is_empty_or_too_long_is_refused_alone(void **state)
{
    struct rpc_call *call = stream_start(*state, V1, REQUEST(_NOT_SET), NULL);
    reflection_response *empty = stream_response(call, 0);
    reflection_response *longest, *too_long, *next;
    HC_AUTO_FREE char *name = calloc(1, LONGEST_NAME + 2);

    assert_non_null(name);
    memset(name, 'x', LONGEST_NAME);
    longest = stream_ask(call, 1, REQUEST(FILE_CONTAINING_SYMBOL), name);
    name[LONGEST_NAME] = 'x';
    too_long = stream_ask(call, 2, REQUEST(FILE_CONTAINING_SYMBOL), name);
    next = stream_ask(call, 3, REQUEST(FILE_CONTAINING_SYMBOL), "google.rpc.Status");

    assert_error(empty, UNIMPLEMENTED);
    assert_error(longest, HC_STATUS_NOT_FOUND);
    assert_error(too_long, HC_STATUS_INVALID_ARGUMENT);
    assert_null(too_long->original_request);
    assert_file(next, "google/rpc/status.proto");

    response_free(empty);
    response_free(longest);
    response_free(too_long);
    response_free(next);
    stream_end(call);
}

static void a_stream_without_a_request_ends_without_an_answer(void **state)
{
    struct world *world = *state;
    struct rpc_call *call =
        rpc_call_start(world->client,
                       &(struct rpc_request){.path = V1, .has_no_message = true});

    assert_int_equal(rpc_call_await(call), HC_STATUS_OK);
    assert_int_equal(rpc_call_await_messages(call, 1), 0);
    rpc_call_free(call);
}

static void bytes_that_are_no_request_end_the_stream(void **state)
{
    struct world *world = *state;
    struct rpc_call *call =
        rpc_call_start(world->client,
                       &(struct rpc_request){.path = V1, .bytes = "\x1a\x7f", .size = 2});

    assert_int_equal(rpc_call_await(call), HC_STATUS_INVALID_ARGUMENT);
    assert_string_equal(rpc_call_reason(call), "INVALID_OPTIONS");
    rpc_call_free(call);
}

/* Streams that end in each way, many at a time, leave nothing behind. */
static void streams_of_callers_that_leave_are_over(void **state)
{
    struct world *world = *state;
    struct rpc_call *calls[STREAMS];

    for (size_t i = 0; i < STREAMS; i++)
        calls[i] = stream_start(world, V1, REQUEST(LIST_SERVICES), "");
    for (size_t i = 0; i < STREAMS; i++) {
        if (i % 3 > 0)
            (void)rpc_call_await_messages(calls[i], 1);
        if (i % 3 == 2)
            rpc_call_send_end(calls[i]);
        else
            rpc_call_cancel(calls[i]);
        assert_int_equal(rpc_call_await(calls[i]),
                         i % 3 == 2 ? HC_STATUS_OK : HC_STATUS_CANCELLED);
        rpc_call_free(calls[i]);
    }
    world_stop_server(world);
    assert_int_equal(world_await_end(world), 0);
}

/*
 * The largest answer has 60 kB and more: its bytes are shared by all streams. Under
 * ThreadSanitizer all memory counts several times.
 */
static void callers_that_do_not_read_take_little_memory(void **state)
{
    struct world *world = *state;
    reflection_request request =
        request_for(REQUEST(FILE_BY_FILENAME), "google/protobuf/descriptor.proto");
    struct rpc_call *calls[UNREAD];
    struct rpc_call *last = stream_start(world, V1, REQUEST(LIST_SERVICES), "");
    unsigned long before_kb, grown_kb;

    (void)rpc_call_await_messages(last, 1);
    before_kb = world_process(world, "VmRSS");
    for (size_t i = 0; i < UNREAD; i++)
        calls[i] = rpc_call_start(world->client, &(struct rpc_request){
                                                     .path = V1,
                                                     .message = &request.base,
                                                     .has_more = true,
                                                     .reads_nothing = true,
                                                 });
    response_free(stream_ask(last, 1, REQUEST(LIST_SERVICES), ""));
    grown_kb = world_process(world, "VmHWM") - before_kb;
    print_message("%d streams: %lu kB\n", UNREAD, grown_kb);
#ifndef __SANITIZE_THREAD__
    assert_in_range(grown_kb, 0, UNREAD * GROWTH_KB);
#endif
    for (size_t i = 0; i < UNREAD; i++) {
        rpc_call_cancel(calls[i]);
        rpc_call_free(calls[i]);
    }
    stream_end(last);
}

static void a_deadline_ends_a_stream(void **state)
{
    struct world *world = *state;
    reflection_request request = request_for(REQUEST(LIST_SERVICES), "");
    struct rpc_call *call =
        rpc_call_start(world->client, &(struct rpc_request){.path = V1,
                                                            .message = &request.base,
                                                            .has_more = true,
                                                            .timeout_ms = 300});

    assert_int_equal(rpc_call_await(call), HC_STATUS_DEADLINE_EXCEEDED);
    rpc_call_free(call);
}

/* At once, and not after the grace period: then their connection would only break. */
static void the_stop_of_the_server_ends_open_streams(void **state)
{
    struct world *world = *state;
    struct rpc_call *calls[STREAMS];

    for (size_t i = 0; i < STREAMS; i++) {
        calls[i] = stream_start(world, V1, REQUEST(LIST_SERVICES), "");
        (void)rpc_call_await_messages(calls[i], 1);
    }
    world_stop_server(world);
    for (size_t i = 0; i < STREAMS; i++) {
        assert_int_equal(rpc_call_await(calls[i]), HC_STATUS_UNAVAILABLE);
        assert_string_equal(rpc_call_reason(calls[i]), "SHUTTING_DOWN");
        rpc_call_free(calls[i]);
    }
    assert_int_equal(world_await_end(world), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(both_versions_list_the_same_services),
        TEST(every_kind_of_symbol_leads_to_its_file),
        TEST(a_name_that_is_no_symbol_is_not_found_and_the_stream_goes_on),
        TEST(a_file_comes_with_all_that_it_imports),
        TEST(messages_have_no_extensions),
        TEST(no_file_declares_an_extension),
        TEST(a_request_that_is_empty_or_too_long_is_refused_alone),
        TEST(a_stream_without_a_request_ends_without_an_answer),
        TEST(bytes_that_are_no_request_end_the_stream),
        TEST(streams_of_callers_that_leave_are_over),
        TEST(callers_that_do_not_read_take_little_memory),
        TEST(a_deadline_ends_a_stream),
        TEST(the_stop_of_the_server_ends_open_streams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
