#include <gtest/gtest.h>

#include <string>

#include "source/server_error.h"

namespace walferry {
namespace {

ServerScene scene() {
    ServerScene scene;
    scene.server = "PostgreSQL at db1:5432";
    scene.database = "shop";
    scene.user = "shipper";
    scene.slot = "orders";
    return scene;
}

struct Case {
    const char* name;
    ServerError error;
    ErrorCode expected;
};

class MapServerError : public testing::TestWithParam<Case> {};

TEST_P(MapServerError, GivesTheCode) {
    const Error mapped = map_server_error(GetParam().error, scene());
    EXPECT_STREQ(info(mapped.code()).code, info(GetParam().expected).code);
    EXPECT_NE(mapped.happened().find(GetParam().error.message), std::string::npos);
    EXPECT_FALSE(mapped.remedy().empty());
}

// The texts are the servers' own; what is said of 16 and later is from their sources.
const Case kCases[] = {
    {"WrongPassword",
     {"FATAL", "28P01", "password authentication failed for user \"shipper\"", "", "", ""},
     ErrorCode::source_authentication},
    {"UnknownRole",
     {"FATAL", "28000", "role \"nobody\" does not exist", "", "", ""},
     ErrorCode::source_authentication},
    {"HbaRejects",
     {"FATAL", "28000", "pg_hba.conf rejects connection for host \"10.0.0.7\", user \"shipper\"", "", "", ""},
     ErrorCode::source_hba_rejected},
    {"HbaHasNoEntry",
     {"FATAL", "28000", "no pg_hba.conf entry for host \"10.0.0.7\"", "", "", ""},
     ErrorCode::source_hba_rejected},
    {"NoDatabase",
     {"FATAL", "3D000", "database \"shop\" does not exist", "", "", ""},
     ErrorCode::source_database_missing},
    {"DatabaseDropped",
     {"FATAL", "57P04", "terminating connection because the database was dropped", "", "", ""},
     ErrorCode::source_database_missing},
    {"NoReplicationRight15",
     {"FATAL", "42501", "must be superuser or replication role to start walsender", "", "", ""},
     ErrorCode::source_no_replication_right},
    {"NoReplicationRight16",
     {"FATAL", "42501", "permission denied to start WAL sender",
      "Only roles with the REPLICATION attribute may start a WAL sender process.", "", ""},
     ErrorCode::source_no_replication_right},
    {"NoConnectPrivilege",
     {"FATAL", "42501", "permission denied for database \"shop\"", "User does not have CONNECT privilege.",
      "", ""},
     ErrorCode::source_privilege},
    {"PluginNotAllowed",
     {"ERROR", "42501", "library \"walferry\" may not be used as an output plugin", "",
      "If it is safe, add it to \"output_plugin_libraries\"", ""},
     ErrorCode::source_plugin_not_allowed},
    {"PluginFileMissing",
     {"ERROR", "58P01", "could not access file \"walferry\": No such file or directory", "", "", ""},
     ErrorCode::source_plugin_not_loadable},
    {"PluginOfAnotherMajor",
     {"ERROR", "XX000", "incompatible library \"/usr/lib/postgresql/15/lib/walferry.so\": version mismatch",
      "", "", ""},
     ErrorCode::source_plugin_not_loadable},
    {"PluginIsNoPlugin",
     {"ERROR", "XX000", "output plugins have to declare the _PG_output_plugin_init symbol", "", "", ""},
     ErrorCode::source_plugin_not_loadable},
    {"PluginRefusesItsOptions",
     {"ERROR", "22023", "option \"x\" = \"1\" is unknown", "", "",
      "slot \"orders\", output plugin \"walferry\", in the startup callback"},
     ErrorCode::source_plugin_error},
    {"ServerIsFull",
     {"FATAL", "53300", "sorry, too many clients already", "", "", ""},
     ErrorCode::source_too_many_connections},
    {"NoWalSender15",
     {"FATAL", "53300", "number of requested standby connections exceeds max_wal_senders (currently 4)", "",
      "", ""},
     ErrorCode::source_no_wal_sender_left},
    {"NoWalSender17",
     {"FATAL", "53300", "number of requested standby connections exceeds \"max_wal_senders\" (currently 4)",
      "", "", ""},
     ErrorCode::source_no_wal_sender_left},
    {"NoSlotLeft",
     {"ERROR", "53400", "all replication slots are in use", "", "Free one or increase max_replication_slots.",
      ""},
     ErrorCode::source_no_slot_left},
    {"DiskFull",
     {"ERROR", "53100", "could not write to file: No space left on device", "", "", ""},
     ErrorCode::source_server_resources},
    {"SlotName",
     {"ERROR", "42602", "replication slot name \"A\" contains invalid character", "", "", ""},
     ErrorCode::source_slot_name},
    {"SlotMissing",
     {"ERROR", "42704", "replication slot \"orders\" does not exist", "", "", ""},
     ErrorCode::source_slot_missing},
    {"SlotExists",
     {"ERROR", "42710", "replication slot \"orders\" already exists", "", "", ""},
     ErrorCode::source_slot_exists},
    {"SlotActive",
     {"ERROR", "55006", "replication slot \"orders\" is active for PID 8290", "", "", ""},
     ErrorCode::source_slot_active},
    {"SlotOtherDatabase",
     {"ERROR", "55000", "replication slot \"orders\" was not created in this database", "", "", ""},
     ErrorCode::source_slot_other_database},
    {"SlotPhysical",
     {"ERROR", "55000", "cannot use physical replication slot for logical decoding", "", "", ""},
     ErrorCode::source_slot_physical},
    {"SlotLost15",
     {"ERROR", "55000", "cannot read from logical replication slot \"orders\"",
      "This slot has been invalidated because it exceeded the maximum reserved size.", "", ""},
     ErrorCode::source_slot_lost},
    {"SlotLost18",
     {"ERROR", "55000", "can no longer access replication slot \"orders\"",
      "This replication slot has been invalidated due to \"wal_removed\".", "", ""},
     ErrorCode::source_slot_lost},
    {"SegmentRemoved",
     {"ERROR", "58P01", "requested WAL segment 000000010000000000000001 has already been removed", "", "",
      ""},
     ErrorCode::source_slot_lost},
    {"WalLevel15",
     {"ERROR", "55000", "logical decoding requires wal_level >= logical", "", "", ""},
     ErrorCode::source_wal_level},
    {"WalLevel17",
     {"ERROR", "55000", "logical decoding requires \"wal_level\" >= \"logical\"", "", "", ""},
     ErrorCode::source_wal_level},
    {"InRecovery",
     {"ERROR", "0A000", "logical decoding cannot be used while in recovery", "", "", ""},
     ErrorCode::source_in_recovery},
    {"Starting",
     {"FATAL", "57P03", "the database system is starting up", "", "", ""},
     ErrorCode::source_unavailable},
    {"Terminated",
     {"FATAL", "57P01", "terminating connection due to administrator command", "", "", ""},
     ErrorCode::source_unavailable},
    {"TerminatedWithinThePlugin",
     {"FATAL", "57P01", "terminating connection due to administrator command", "", "",
      "slot \"s\", output plugin \"walferry\", in the change callback, associated LSN 0/1"},
     ErrorCode::source_unavailable},
    {"UnreadableValue",
     {"ERROR", "42501", "permission denied for function f", "", "",
      "walferry: column \"c\" of table public.t slot \"s\", output plugin \"walferry\", in the change "
      "callback, associated LSN 0/1"},
     ErrorCode::source_unreadable_value},
    {"CancelledWithinAnOutputFunction",
     {"ERROR", "57014", "canceling statement due to user request", "", "",
      "walferry: column \"c\" of table public.t slot \"s\", output plugin \"walferry\""},
     ErrorCode::source_unavailable},
    {"CancelledWithinThePlugin",
     {"ERROR", "57014", "canceling statement due to user request", "", "",
      "slot \"s\", output plugin \"walferry\", in the change callback, associated LSN 0/1"},
     ErrorCode::source_unavailable},
    {"ConnectionFailedWithinThePlugin",
     {"FATAL", "08006", "connection to client lost", "", "",
      "slot \"s\", output plugin \"walferry\", in the commit callback, associated LSN 0/1"},
     ErrorCode::source_unavailable},
    {"DatabaseDroppedWithinThePlugin",
     {"FATAL", "57P04", "database dropped", "", "", "output plugin \"walferry\", in the change callback"},
     ErrorCode::source_database_missing},
    {"BadOption",
     {"FATAL", "42704", "unrecognized configuration parameter \"nonsense\"", "", "", ""},
     ErrorCode::source_dsn},
    {"NoPassword",
     {"", "", "fe_sendauth: no password supplied", "", "", ""},
     ErrorCode::source_authentication},
    {"NoTls",
     {"", "", "server does not support SSL, but SSL was required", "", "", ""},
     ErrorCode::source_tls},
    {"TlsCutOff", {"", "", "SSL SYSCALL error: EOF detected", "", "", ""}, ErrorCode::source_connection},
    {"NotAPostgres",
     {"", "", "received invalid response to SSL negotiation: H", "", "", ""},
     ErrorCode::source_connection},
    {"Refused",
     {"", "", "connection to server failed: Connection refused", "", "", ""},
     ErrorCode::source_connection},
    {"Unknown", {"ERROR", "XX001", "invalid page in block 0", "", "", ""}, ErrorCode::source_server_error},
};

INSTANTIATE_TEST_SUITE_P(Server, MapServerError, testing::ValuesIn(kCases),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(MapServerErrorTest, UnknownErrorKeepsTheServersOwnWords) {
    const Error mapped =
        map_server_error({"ERROR", "XX001", "the message", "the detail", "the hint", "the context"}, scene());
    for (const char* part : {"ERROR", "XX001", "the message", "the detail", "the hint", "the context"})
        EXPECT_NE(std::string(mapped.what()).find(part), std::string::npos) << part;
}

TEST(MapServerErrorTest, LostConnectionIsRetriedAndWrongPasswordIsNot) {
    EXPECT_EQ(map_server_error({"", "", "Connection refused", "", "", ""}, scene()).retry(), Retry::source);
    EXPECT_EQ(map_server_error({"FATAL", "28P01", "no", "", "", ""}, scene()).retry(), Retry::never);
    const ServerError shutdown{"FATAL", "57P01", "no",
                               "",      "",      "output plugin \"walferry\", in the change callback"};
    EXPECT_EQ(map_server_error(shutdown, scene()).retry(), Retry::source);
}

TEST(MapServerErrorTest, AllowStatementRepeatsTheListWithEachNameOnItsOwn) {
    ServerScene with_list = scene();
    with_list.user = "o\"hara";
    with_list.allowed_plugins = {"pgoutput", "wal2json", "walferry"};
    const std::string statement = allow_plugin_statement(with_list);
    EXPECT_NE(
        statement.find(
            "ALTER ROLE \"o\"\"hara\" SET output_plugin_libraries = 'pgoutput', 'wal2json', 'walferry';"),
        std::string::npos);
    EXPECT_NE(statement.find("ALTER SYSTEM SET output_plugin_libraries = "), std::string::npos);
}

TEST(ParseConnectMessage, ReadsTheVerboseForm) {
    const ServerError error = parse_connect_message(
        "connection to server at \"::1\", port 5432 failed: FATAL:  28P01: password authentication failed\n"
        "DETAIL:  more of it\nHINT:  do that\nLOCATION:  auth_failed, auth.c:1\n");
    EXPECT_EQ(error.severity, "FATAL");
    EXPECT_EQ(error.sqlstate, "28P01");
    EXPECT_EQ(error.message, "password authentication failed");
    EXPECT_EQ(error.detail, "more of it");
    EXPECT_EQ(error.hint, "do that");
}

TEST(ParseConnectMessage, TakesTheLastServerErrorOfSeveralHosts) {
    const ServerError error = parse_connect_message(
        "connection to server at \"a\", port 1 failed: Connection refused\n\tIs the server running?\n"
        "connection to server at \"b\", port 2 failed: FATAL:  3D000: database \"x\" does not exist\n");
    EXPECT_EQ(error.sqlstate, "3D000");
    EXPECT_EQ(error.message, "database \"x\" does not exist");
}

TEST(ParseConnectMessage, KeepsTextWithoutSqlstateAsItIs) {
    const ServerError error = parse_connect_message("connection refused\n\tIs it running?\n");
    EXPECT_EQ(error.sqlstate, "");
    EXPECT_EQ(error.message, "connection refused Is it running?");
}

TEST(ParseConnectMessage, AcceptsAnyBytes) {
    for (const char* text : {"", "\n", ":  ", "FATAL:  28P01", "FATAL:  28P01: ", ":  ABCDE: ", "\n\n\t\n"})
        EXPECT_NO_THROW(parse_connect_message(text)) << text;
}

}  // namespace
}  // namespace walferry
