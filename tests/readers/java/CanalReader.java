import com.alibaba.fastjson2.JSON;
import com.alibaba.otter.canal.client.adapter.support.JdbcTypeUtil;
import com.alibaba.otter.canal.protocol.FlatMessage;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Canal's own message class, read as its Kafka client does (KafkaCanalConnector.getFlatList), and what its adapters make of
 * the values by their sqlType (JdbcTypeUtil.typeConvert). */
final class CanalReader {
    static Object read(String line) {
        FlatMessage message = JSON.parseObject(line, FlatMessage.class);
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("id", message.getId());
        result.put("database", message.getDatabase());
        result.put("table", message.getTable());
        result.put("pkNames", message.getPkNames());
        result.put("isDdl", message.getIsDdl());
        result.put("type", message.getType());
        result.put("es", message.getEs());
        result.put("ts", message.getTs());
        result.put("sql", message.getSql());
        result.put("sqlType", message.getSqlType());
        result.put("mysqlType", message.getMysqlType());
        result.put("data", message.getData());
        result.put("old", message.getOld());
        result.put("converted", converted(message));
        return result;
    }

    private static List<Object> converted(FlatMessage message) {
        List<Object> rows = new ArrayList<>();
        if (message.getData() == null) {
            return rows;
        }
        for (Map<String, String> data : message.getData()) {
            Map<String, Object> row = new LinkedHashMap<>();
            for (Map.Entry<String, String> column : data.entrySet()) {
                Object value = JdbcTypeUtil.typeConvert(message.getTable(), column.getKey(), column.getValue(),
                        message.getSqlType().get(column.getKey()), message.getMysqlType().get(column.getKey()));
                // The class of the value says whether it was converted: what cannot be is left as text.
                row.put(column.getKey(), value == null ? null : List.of(value.getClass().getSimpleName(), text(value)));
            }
            rows.add(row);
        }
        return rows;
    }

    private static String text(Object value) {
        return value instanceof byte[] ? HexFormat.of().formatHex((byte[]) value) : value.toString();
    }
}
