/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: one YAML mapping. Each key is the name of an option, each value
 * a scalar or, for a repeatable option, a list of scalars. The values go through the same
 * checks as those of flags (option.c), as the texts that stand in the file: YAML's own
 * types are not used, so that "listen: 50051" and "listen: '50051'" are the same.
 *
 * libyaml keeps the line of every node, so each failure names the file and the line. An
 * unknown key is a failure: a misspelt one would otherwise be an option without effect.
 */
#include "option.h"

#include <base/error.h>

#include <errno.h>
#include <string.h>
#include <yaml.h>

/* Both may be deleted when they are only zero, and after a failure. */
HC_DEFINE_AUTO_VALUE(yaml_parser_s, yaml_parser_delete)
HC_DEFINE_AUTO_VALUE(yaml_document_s, yaml_document_delete)

static size_t line_of(const yaml_node_t *node)
{
    return node->start_mark.line + 1;
}

static int at_line(const struct hc_options *options, const yaml_node_t *node,
                   struct hc_error *err)
{
    return hc_context(err, "%s, line %zu", options->config, line_of(node));
}

static const char *text_of(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static int set_scalar(struct hc_options *options, const struct hc_option *option,
                      const yaml_node_t *node, struct hc_error *err)
{
    const char *text = text_of(node);

    /* A NUL inside the value would end it early. */
    if (!text || strlen(text) != node->data.scalar.length)
        return hc_fail_field(err, HC_INVALID_OPTIONS, option->name,
                             "%s: the value must be a scalar", option->name);
    return hc_option_set(options, option, text, err);
}

static int set_list(struct hc_options *options, const struct hc_option *option,
                    yaml_document_t *document, const yaml_node_t *node,
                    struct hc_error *err)
{
    const yaml_node_item_t *end = node->data.sequence.items.top;

    if (option->kind != HC_OPTION_LIST)
        return hc_fail_field(err, HC_INVALID_OPTIONS, option->name,
                             "%s: the option has one value, not a list", option->name);
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < end; item++) {
        if (set_scalar(options, option, yaml_document_get_node(document, *item), err) < 0)
            return -1;
    }
    return 0;
}

/* A list in the file replaces the list of the defaults, so it begins empty. */
static int set_pair(struct hc_options *options, yaml_document_t *document,
                    const yaml_node_pair_t *pair, struct hc_error *err)
{
    const yaml_node_t *key = yaml_document_get_node(document, pair->key);
    const yaml_node_t *value = yaml_document_get_node(document, pair->value);
    const char *name = text_of(key);
    const struct hc_option *option = name ? hc_option_find(name) : NULL;
    int failed;

    if (!option || option->is_flag_only) {
        (void)hc_fail(err, HC_INVALID_OPTIONS, "there is no option '%s'",
                      name ? name : "(not a name)");
        return at_line(options, key, err);
    }
    hc_option_restart(options, option);
    if (value->type == YAML_SEQUENCE_NODE)
        failed = set_list(options, option, document, value, err);
    else
        failed = set_scalar(options, option, value, err);
    return failed < 0 ? at_line(options, value, err) : 0;
}

static int set_all(struct hc_options *options, yaml_document_t *document,
                   struct hc_error *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(document);

    if (!root) /* an empty file */
        return 0;
    if (root->type != YAML_MAPPING_NODE)
        return hc_fail(err, HC_INVALID_OPTIONS,
                       "%s: the file must consist of 'option: value' lines",
                       options->config);
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top; pair++) {
        if (set_pair(options, document, pair, err) < 0)
            return -1;
    }
    return 0;
}

int hc_config_load(struct hc_options *options, struct hc_error *err)
{
    HC_AUTO_FCLOSE FILE *file = fopen(options->config, "re");
    HC_AUTO_VALUE(yaml_parser_s) parser = {0};
    HC_AUTO_VALUE(yaml_document_s) document = {0};

    if (!file)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "config", "cannot read '%s': %s",
                             options->config, strerrordesc_np(errno));
    if (!yaml_parser_initialize(&parser))
        return hc_fail_memory(err);
    yaml_parser_set_input_file(&parser, file);
    if (!yaml_parser_load(&parser, &document))
        return hc_fail_field(err, HC_INVALID_OPTIONS, "config", "%s, line %zu: %s",
                             options->config, parser.problem_mark.line + 1,
                             parser.problem ? parser.problem : "unreadable");
    return set_all(options, &document, err);
}
