#include "route/router.h"

namespace walferry {

Router::Router(const TaskConfig& config)
    : config_(config), topic_(config.sink.topic), dead_letter_topic_(config.sink.dead_letter_topic) {
    if (!config.sink.ddl_topic.empty()) ddl_topic_.emplace(config.sink.ddl_topic);
    for (const TableConfig& table : config.tables) {
        Rule rule{&table, {}, std::nullopt};
        size_t offset = 0;
        const PatternError error = parse_pattern(table.match, rule.pattern, offset);
        if (error != PatternError::none) {
            throw Error(ErrorCode::config_value, "The pattern \"" + table.match + "\" is not valid",
                        describe(error),
                        "A pattern is schema.table, with * for any text and ? for one character.");
        }
        if (!table.topic.empty()) rule.topic.emplace(table.topic);
        rules_.push_back(std::move(rule));
    }
}

Destination Router::route(const RelationSchema& relation, const std::string& database) const {
    const TopicNames names{database, relation.schema, relation.table, config_.name};
    Destination destination;
    destination.operations = config_.source.operations;
    destination.key_change = config_.sink.key_change;
    destination.oversize = config_.sink.oversize;
    destination.unrenderable = config_.sink.unrenderable;
    destination.max_message_size = config_.sink.max_message_size;
    const TopicTemplate* topic = &topic_;
    for (const Rule& rule : rules_) {
        if (!matches(rule.pattern, relation.schema, relation.table)) continue;
        if (rule.topic) topic = &*rule.topic;
        if (!rule.table->key.empty()) destination.key = rule.table->key;
        if (rule.table->operations) destination.operations = *rule.table->operations;
        if (rule.table->key_change) destination.key_change = *rule.table->key_change;
        if (rule.table->oversize) destination.oversize = *rule.table->oversize;
        if (rule.table->unrenderable) destination.unrenderable = *rule.table->unrenderable;
        if (rule.table->max_message_size.value > 0)
            destination.max_message_size = rule.table->max_message_size;
    }
    destination.topic = topic->expand(names);
    destination.ddl_topic = ddl_topic_ ? ddl_topic_->expand(names) : destination.topic;
    if (destination.oversize == Oversize::dead_letter ||
        destination.unrenderable == Unrenderable::dead_letter)
        destination.dead_letter_topic = dead_letter_topic_.expand(names);
    return destination;
}

}  // namespace walferry
